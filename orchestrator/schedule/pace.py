"""How long batches take, learned from those that finished: per target, in proportion to their rows.

A batch whose end was seen, between two polls close together, is a measurement.  One that the first poll found
finished only says that it took no longer than believed, so it is taken to have been a little faster; a row of such
batches says more each time, or a belief that is too slow by far would stay for long.  How far batches deviate is
learned from measurements alone, and from many of them: who takes batches for alike that are not keeps too few of them
at Marketo and asks too late.  So as long as that is open, batches are asked after early, that their ends are seen.

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
EARLY_AT_FIRST = 0.9  # of its likely duration, a batch is asked after then, until it is clear whether all are alike
LATER_MAX = 0.15  # of its likely duration, a batch is asked after later than that
DEVIATIONS = 2  # how many mean deviations from the average a batch may be faster
FASTEST_SHARE = 5  # no batch is expected to be faster than a fifth of the average
EXTRAPOLATED = 4  # nothing is expected of batches with so many times more rows than those that were seen
EARLIER = 0.005  # of its duration, a batch found finished by its first poll ended before it was expected
EARLIER_DOUBLINGS_MAX = 3  # for as many in a row this share doubles with each
EARLIER_STEADY, EARLIER_UNSTEADY = 0.1, 0.7  # of the deviation, it ended earlier at the least


@dataclass(slots=True)
class _Average:
    """Moving averages over batches."""

    took_ms: float
    rows: float
    deviation_ms: float
    batches: int = 1
    measured: int = MEASURED_AT_FIRST
    unseen: int = 0  # batches in a row whose end was not seen


class Pace:
    """The average duration of a row in a batch, and the mean deviation from it, per target."""

    def __init__(self) -> None:
        self._averages: dict[str, _Average] = {}
        self._unfinished: dict[str, tuple[int, int]] = {}  # before any ended: rows, and for how long already

    def note(self, target: str, rows: int, took_ms: float) -> None:
        """Learn from a batch whose end was seen."""
        average = self._averages.get(target)
        if average is None:
            deviation_ms = took_ms * DEVIATION_AT_FIRST
            self._averages[target] = _Average(took_ms=took_ms, rows=rows, deviation_ms=deviation_ms)
            return
        error_ms = abs(took_ms - average.took_ms * rows / average.rows)
        self._move(average, rows, took_ms)
        average.measured = min(MEASURED_MAX, average.measured + 1)
        average.deviation_ms += (error_ms - average.deviation_ms) / average.measured
        average.unseen = 0

    def note_unfinished(self, target: str, rows: int, lasted_ms: int) -> None:
        """Learn from a batch that is not finished yet, as long as none was."""
        if target not in self._averages:
            self._unfinished[target] = (rows, lasted_ms)

    def note_unseen(self, target: str, rows: int, limit_ms: int) -> int:
        """Learn from a batch that took at most this long; return how long it is believed to have taken."""
        average, believed_ms = self._averages[target], min(limit_ms, self.likely_ms(target, rows))
        share = EARLIER_STEADY if self.is_steady(target, rows) else EARLIER_UNSTEADY
        earlier_ms = share * self.deviation_ms(target, rows)
        doubled = EARLIER * float(1 << average.unseen)
        self._move(average, rows, max(0.0, believed_ms - max(believed_ms * doubled, earlier_ms)))
        average.unseen = min(EARLIER_DOUBLINGS_MAX, average.unseen + 1)
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
