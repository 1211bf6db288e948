"""How long batches take, learned from those that finished: per target, in proportion to their rows.

A batch whose end was seen, between two polls close together, is a measurement.  One that the first poll found
finished only says that it took no longer than believed, so it is taken to have been a little faster.  How far batches
deviate is learned from measurements alone, less what they are unsure by, and from many of them: who takes batches for
alike that are not keeps too few of them at Marketo and asks too late.  So as long as that is open, batches are asked
after early, that their ends are seen.

Marketo may become faster at any time, and a belief in slow batches would leave the importers idle for as long as it
lets nobody ask.  So now and then a batch is looked after early: the fewer batches stand behind the belief, the earlier
and the more often, for the less time there was that the loss is to be weighed against.  One batch that took a very
different time is chance; two in a row are not, and what was believed before is forgotten.

Before any batch has ended, the one that is being imported says how long batches last at the least.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

GAIN = 4  # a new batch weighs a quarter, once there were as many: old ones are forgotten, one odd one is not believed
# How far batches deviate shows in more of them than how long they take: three that are alike by chance are not rare.
DEVIATION_AT_FIRST = 0.5  # of the first batch's duration: one batch does not tell how others differ from it
MEASURED_AT_FIRST = 2  # so many measurements this assumption is worth
MEASURED_MAX = 24  # a new measurement weighs no less than one of so many
STEADY = 0.2  # of the average: batches that deviate by no more than this are steady
UNSTEADY_MEASURED_MIN = 5  # with those assumed: a few batches that differ are chance
UNSTEADY_MEASURED_SURE = 8  # then at the latest they are none
EARLY_AT_FIRST = 0.95  # of its likely duration, a batch is asked after then, until it is clear whether all are alike
LATER_MAX = 0.15  # of its likely duration, a batch is asked after later than that
DEVIATIONS = 2  # how many mean deviations from the average a batch may be faster
FASTEST_SHARE = 5  # no batch is expected to be faster than a fifth of the average
EXTRAPOLATED = 4  # nothing is expected of batches with so many times more rows than those that were seen
EARLIER = 0.003  # of its duration, a batch found finished by its first poll ended before it was expected
EARLIER_AGAIN = 2  # so much more, if the end of the one before was not seen either
EARLIER_STEADY, EARLIER_UNSTEADY = 0.03, 0.7  # of the deviation, it ended earlier at the least
ODD = 2  # a batch that takes so many times as long as others that are alike, or as short, is odd
SOONER = 0.75  # of its likely duration: of a batch found finished before that those behind it may be finished as well
# To see whether Marketo has become faster, a batch is looked after at these shares of its likely duration.
LOOK_FIRST, LOOK_FIRST_MAX = 1 / 64, 0.25  # early if few batches took as long as expected, later if many did
LOOK_AGAIN = 8  # times as late as before,
LOOK_LAST = 0.4  # but no later than this
ALIKE_SHARE = 100  # so many batches alike would put the first look off by their whole duration
UNSEEN_IN_A_ROW = (
    4  # of batches that differ widely, so many that were finished when they were asked after are no chance
)
ALIKE_ROUNDS = 40  # after as many, every second round of batches is looked after, after twice as many every third


@dataclass(slots=True)
class _Average:
    """Moving averages over batches."""

    took_ms: float
    rows: float
    deviation_ms: float
    batches: int = 1
    measured: int = MEASURED_AT_FIRST
    unseen: int = 0  # batches in a row whose end was not seen
    alike: int = 1  # batches in a row that took about as long as expected
    odd_ms: float | None = None  # how long a row of the last one took, if that was odd


class Pace:
    """The average duration of a row in a batch, and the mean deviation from it, per target."""

    def __init__(self) -> None:
        self._averages: dict[str, _Average] = {}
        self._unfinished: dict[str, tuple[int, int]] = {}  # before any ended: rows, and for how long already

    def note(self, target: str, rows: int, took_ms: float, unsure_ms: float = 0) -> None:
        """Learn from a batch whose end was seen, ``unsure_ms`` sooner or later on average."""
        average = self._averages.get(target)
        if average is None:
            self.begin_anew(target, rows, took_ms)
            return
        expected_ms = average.took_ms * rows / average.rows
        error_ms = max(0.0, abs(took_ms - expected_ms) - unsure_ms)
        if self.is_steady(target, rows) and not took_ms / ODD <= expected_ms <= took_ms * ODD:
            average.alike = 1
            if average.odd_ms is None:
                average.odd_ms = took_ms / rows
            else:  # one alone is chance, two are none
                self.begin_anew(target, rows, (took_ms + average.odd_ms * rows) / 2)
            return
        average.odd_ms = None
        average.alike += 1
        self._move(average, rows, took_ms)
        average.measured = min(MEASURED_MAX, average.measured + 1)
        average.deviation_ms += (error_ms - average.deviation_ms) / average.measured
        average.unseen = 0

    def begin_anew(self, target: str, rows: int, took_ms: float) -> None:
        """Believe nothing but that a batch took so long."""
        deviation_ms = took_ms * DEVIATION_AT_FIRST
        self._averages[target] = _Average(took_ms=took_ms, rows=rows, deviation_ms=deviation_ms)

    def note_unfinished(self, target: str, rows: int, lasted_ms: int) -> None:
        """Learn from a batch that is not finished yet, as long as none was."""
        if target not in self._averages:
            self._unfinished[target] = (rows, lasted_ms)

    def note_unseen(self, target: str, rows: int, limit_ms: int) -> int:
        """Learn from a batch that took at most this long; return how long it is believed to have taken."""
        average, believed_ms = self._averages[target], min(limit_ms, self.likely_ms(target, rows))
        share = EARLIER_UNSTEADY if self.is_unsteady(target, rows) else EARLIER_STEADY
        earlier_ms = share * self.deviation_ms(target, rows)
        share_again = EARLIER * (EARLIER_AGAIN if average.unseen else 1)
        self._move(average, rows, max(0.0, believed_ms - max(believed_ms * share_again, earlier_ms)))
        average.unseen, average.odd_ms = average.unseen + 1, None
        average.alike += 1
        return round(max(0.0, believed_ms - max(believed_ms * EARLIER, earlier_ms)))

    @staticmethod
    def _move(average: _Average, rows: int, took_ms: float) -> None:
        average.batches = min(GAIN, average.batches + 1)
        average.took_ms += (took_ms - average.took_ms) / average.batches
        average.rows += (rows - average.rows) / average.batches

    def knows(self, target: str, rows: int) -> bool:
        """Tell whether batches into the target were seen that tell something of one with so many rows."""
        return target in self._averages and rows <= EXTRAPOLATED * self._averages[target].rows

    def likely_ms(self, target: str, rows: int) -> int:
        """Return how long a batch takes on average; 0 if nothing is known."""
        average = self._averages.get(target)
        return 0 if average is None else round(average.took_ms * rows / average.rows)

    def deviation_ms(self, target: str, rows: int) -> int:
        """Return by how much a batch deviates from the average, on average; 0 if nothing is known."""
        average = self._averages.get(target)
        return 0 if average is None else round(average.deviation_ms * rows / average.rows)

    def is_steady(self, target: str, rows: int) -> bool:
        """Tell whether most batches take about as long as they are expected to."""
        return self.knows(target, rows) and self.deviation_ms(target, rows) <= STEADY * self.likely_ms(target, rows)

    def is_unsteady(self, target: str, rows: int) -> bool:
        """Tell whether batches were seen to differ widely."""
        known = target in self._averages and self._averages[target].measured >= UNSTEADY_MEASURED_MIN
        return known and not self.is_steady(target, rows)

    def fast_ms(self, target: str, rows: int, place: int = 1) -> int:
        """Return a duration that few batches fall below; 0 if nothing is known.

        Of batches one after another few are fast: the first ``n`` together are by the root of ``n`` times that faster.
        """
        if target not in self._averages:
            seen, lasted_ms = self._unfinished.get(target, (rows, 0))
            return lasted_ms * min(rows, seen) // seen // FASTEST_SHARE
        if not self.knows(target, rows):
            return 0
        likely_ms = self.likely_ms(target, rows)
        faster_ms = DEVIATIONS * self.deviation_ms(target, rows) * (sqrt(place) - sqrt(place - 1))
        return max(likely_ms // FASTEST_SHARE, round(likely_ms - faster_ms))

    def is_sooner(self, target: str, rows: int, took_ms: int) -> bool:
        """Tell whether a batch that took at most this long was faster than others before it."""
        sooner_ms = min(SOONER * self.likely_ms(target, rows), self.fast_ms(target, rows))
        return self.knows(target, rows) and took_ms < sooner_ms

    def look_every(self, target: str) -> int:
        """Return of how many rounds of batches to look after one."""
        average = self._averages.get(target)
        return 1 if average is None else 1 + average.alike // ALIKE_ROUNDS

    def look_ms(self, target: str, rows: int, lasted_ms: int) -> int | None:
        """Return after which time, later than ``lasted_ms``, to look whether a batch is faster than others before it.

        None if not again before it is likely to have ended.
        """
        average, likely_ms = self._averages[target], self.likely_ms(target, rows)
        surely_unsteady = self.is_unsteady(target, rows) and average.measured >= UNSTEADY_MEASURED_SURE
        if surely_unsteady and average.unseen < UNSEEN_IN_A_ROW:
            return None  # some are so much faster anyway
        look_ms = likely_ms * min(LOOK_FIRST_MAX, max(LOOK_FIRST, average.alike / ALIKE_SHARE))
        while look_ms <= 2 * lasted_ms:  # what is learned meanwhile moves it, and is no reason to look again
            if look_ms <= 0:
                return None
            look_ms *= LOOK_AGAIN
        return round(look_ms) if look_ms <= LOOK_LAST * likely_ms else None

    def worth_asking_ms(self, target: str, rows: int) -> int:
        """Return after which time to ask after a batch if nobody hurries: when most, or else many, have ended.

        Earlier as long as it is open whether most end at a time.
        """
        likely_ms = self.likely_ms(target, rows)
        if self.is_unsteady(target, rows):
            return likely_ms
        if not self.is_steady(target, rows):
            return round(likely_ms * EARLY_AT_FIRST)
        return likely_ms + min(self.deviation_ms(target, rows), round(likely_ms * LATER_MAX))
