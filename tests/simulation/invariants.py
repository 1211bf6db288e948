"""What must be true of every world after its end; each has the name by which a failure is told.

* **no-loss**: every source row stands in exactly one place of the report, and Marketo's records agree with it.
* **once**: nothing is accepted twice unless the outcome of an earlier upload was unknown, or the batch had failed.
* **order**: the last row of a key wins, and no key has two records, unless an upload whose answer was lost took
  longer than anything before it lets expect.
* **limits**: slots, calls in a window and calls at a time, as the emulator counted them.
* **resume**: a life that ended repeats no finished work.
* **convergence**: once nothing goes wrong any more, everything is done within the time that the world needs.
* **busy**: while there is something to send and nothing forbids it, every importer of Marketo's is at work.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

from orchestrator.tables import Backoff, Http, Limits, Unknown
from tests.simulation.kit import EPOCH_MS
from tests.simulation.plans import MINUTE_MS, Plan, Row
from tests.simulation.world import RESUMED_AFTER_S, TRIED_AGAIN_AFTER_S, Ended, Seen, Upload

# A row that Marketo would have taken fails only with its whole batch.
BATCH_FAILED = "Batch failed:"

LIMITS = Limits()
IMPORTERS = LIMITS.importers
BACKOFF_MS_MAX = round(1_250 * Backoff().seconds_max)  # a quarter more than the longest wait, by jitter
BUSY_SHARE_MIN = 0.98  # of the importers' time


class Violated(AssertionError):
    """An invariant does not hold; the message begins with its name."""

    def __init__(self, name: str, detail: object) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name


def demand(true: object, name: str, detail: object) -> None:
    """Raise `Violated` unless something is true."""
    if not true:
        raise Violated(name, detail)


def check(seen: Seen) -> None:
    """Check every invariant."""
    for ended in seen.jobs:
        _converged(ended, seen)
        _nothing_lost(ended)
    _order(seen)
    _once(seen)
    _limits(seen)
    if can_keep_busy(seen.plan):
        _busy(seen)


def _converged(ended: Ended, seen: Seen) -> None:
    demand(ended.summary["state"] == "complete", "convergence", (ended.id, ended.summary["exit_reasons"]))
    late_ms = seen.done_ms - seen.healthy_ms
    allowed_ms = _allowed_ms(seen)
    told = f"{late_ms / 60_000:.0f} minutes after everything healed, {allowed_ms / 60_000:.0f} are allowed"
    demand(late_ms < allowed_ms, "convergence", told)


def _allowed_ms(seen: Seen) -> int:
    """Return how long a world may take once nothing goes wrong any more.

    That is the longest wait between two tries; the work that is left, by one importer and as long again, since what
    was learned of slow batches is not forgotten at once; and a minute to notice each batch's end.  If answers can be
    lost, the longest hold of an upload comes first; if jobs can stop, the time until somebody resumes them.
    """
    plan = seen.plan
    left = [upload for upload in seen.uploads if upload.finished_ms > EPOCH_MS + seen.healthy_ms]
    allowed_ms = BACKOFF_MS_MAX + 2 * plan.work_ms + MINUTE_MS * len(left)
    if plan.loses_answers:
        longest_ms = max((upload.finished_ms - upload.at_ms for upload in seen.uploads), default=0)
        hold_ms = max(1_000 * Unknown().hold_seconds_min, 3 * (longest_ms + MINUTE_MS))
        allowed_ms += round(1_000 * Http().timeout_seconds + hold_ms * plan.slots / IMPORTERS)
    return allowed_ms + 1_000 * _away_s(plan)


def _away_s(plan: Plan) -> int:
    """Return how long somebody may be away who has to begin, or to resume, a job."""
    stops = any(trouble["on"] == "batch" or "token" in trouble["do"] for trouble in plan.troubles)
    cut_off = plan.refused or plan.rivals_ms or any(trouble["on"] == "any" for trouble in plan.all_troubles)
    cut_off = cut_off or (plan.siege is not None and plan.siege.trouble is None)
    return RESUMED_AFTER_S if stops else TRIED_AGAIN_AFTER_S if cut_off else 0


def _nothing_lost(ended: Ended) -> None:
    rows = ended.summary["rows"]
    demand(rows["in_source"] == sum(map(len, ended.plan.sources)), "no-loss", rows)
    demand(rows["read"] == rows["accepted"] + rows["failed"] + rows["unsent"] + rows["unknown"], "no-loss", rows)
    demand(rows["unsent"] == 0, "no-loss", rows)
    demand(rows["unmatched"] == 0 and rows["unknown"] == 0, "no-loss", rows)
    demand(len(ended.failures) == rows["failed"], "no-loss", (rows["failed"], len(ended.failures)))
    told = _failed(ended)
    demand(len(told) == len(ended.failures), "no-loss", "a row is told twice")
    for source, its_rows in enumerate(ended.plan.sources):
        for number, row in enumerate(its_rows, 1):
            reason = told.get((source, number))
            demand(not row.fails or reason is not None, "no-loss", f"row {number} of source {source} is not told")
            whole = reason is not None and reason.startswith(BATCH_FAILED)
            demand(row.fails or reason is None or whole, "no-loss", f"row {number} of source {source}: {reason}")


def _failed(ended: Ended) -> dict[tuple[int, int], str]:
    """Return the reasons of the failed rows by source and row."""
    names = [source["path"] for source in ended.summary["sources"]]
    value = ended.plan.columns[1]
    told: dict[tuple[int, int], str] = {}
    for line in ended.failures:
        source, row = names.index(line["source_file"]), int(line["source_row"])
        demand(line[value] == ended.plan.sources[source][row - 1].value, "no-loss", f"row {row} is not what is told")
        told[source, row] = line["Import Failure Reason"]
    return told


def _taken(ended: Ended) -> Iterable[tuple[Row, bool]]:
    """Yield every row with a key in order, and whether Marketo took it for certain."""
    told = _failed(ended)
    for source, rows in enumerate(ended.plan.sources):
        for number, row in enumerate(rows, 1):
            if row.key and not row.fails:
                yield row, (source, number) not in told


def _order(seen: Seen) -> None:
    excused = _unforeseen(seen)
    for store, key in (("leads", "email"), ("car_c", "vin")):
        found = Counter(str(record["values"].get(key, "")).casefold() for record in seen.records[store])
        twice = [key for key, count in found.items() if key and count > 1 and key not in excused]
        demand(not twice, "order", f"{len(twice)} keys have two records in {store}")
    values = {
        (store, str(record["values"].get(key, "")).casefold()): record["values"]
        for store, key in (("leads", "email"), ("car_c", "vin"))
        for record in seen.records[store]
    }
    users: dict[tuple[str, str], set[str]] = defaultdict(set)  # of a key: the jobs that have it
    for ended in seen.jobs:
        for row, _ in _taken(ended):
            users[ended.plan.store, row.key].add(ended.id)
    for ended in seen.jobs:
        last: dict[str, tuple[Row, bool]] = {}
        doubtful = set(excused)
        for row, certain in _taken(ended):
            last[row.key] = row, certain
            doubtful |= set() if certain else {row.key}
        for key, (row, _) in last.items():
            at = (ended.plan.store, key)
            demand(key in doubtful or at in values, "no-loss", f"a row of {ended.id} left no record")
            if key not in doubtful and users[at] == {ended.id}:
                value = values[at][ended.plan.columns[1]]
                demand(value == row.value, "order", f"{ended.id}: the record is {value!r}, the last row {row.value!r}")


def _unforeseen(seen: Seen) -> set[str]:
    """Return the keys of lost uploads that took longer than the program could know, and were sent again meanwhile.

    How long one may be at work follows from the batches before it; of one that takes several times as long as any
    of them nobody can know that it is not yet finished.
    """
    keys: set[str] = set()
    for number, again in enumerate(seen.uploads):
        same = [lost for lost in seen.uploads[:number] if lost.content == again.content]
        for lost in same:
            beside = lost.batch_id not in seen.known and lost.finished_ms > again.at_ms
            if beside and lost.finished_ms - lost.at_ms > _hold_ms(seen, again.at_ms):
                keys |= lost.keys
    return keys


def _hold_ms(seen: Seen, now_ms: int) -> int:
    """Return how long a lost upload is taken to be at work, by the batches that were finished until now."""
    finished = [upload for upload in seen.uploads if upload.finished_ms <= now_ms and upload.batch_id in seen.known]
    longest_ms = max((upload.finished_ms - upload.at_ms for upload in finished), default=0)
    return max(1_000 * int(Unknown().hold_seconds_min), 3 * longest_ms)


def _once(seen: Seen) -> None:
    """Of two uploads with the same content, the earlier one failed whole, or its answer never became known."""
    latest: dict[str, Upload] = {}
    for upload in seen.uploads:
        before = latest.get(upload.content)
        if before is not None:
            known = before.batch_id in seen.known
            name = (
                "resume" if any(before.finished_ms < died_ms < upload.at_ms for died_ms in seen.deaths_ms) else "once"
            )
            demand(before.failed or not known, name, f"batch {upload.batch_id} repeats batch {before.batch_id}")
        latest[upload.content] = upload


def _limits(seen: Seen) -> None:
    slots = LIMITS.slots if seen.plan.occupations else seen.plan.slots
    demand(seen.unfinished_max <= slots, "limits", f"{seen.unfinished_max} slots of {slots}")
    processes = 1 + len(seen.plan.rivals_ms) + len(seen.plan.lives)  # each keeps to the limits by itself
    demand(
        seen.in_window_max <= processes * seen.plan.calls_per_window,
        "limits",
        f"{seen.in_window_max} calls in a window",
    )
    if not seen.plan.occupations and not any(trouble.get("code") == "1016" for trouble in seen.plan.all_troubles):
        demand(seen.queue_full == 0, "limits", f"the own queue was found full {seen.queue_full} times")
    demand(seen.in_flight_max <= 5 * processes, "limits", f"{seen.in_flight_max} calls at a time")


def can_keep_busy(plan: Plan) -> bool:
    """Tell whether nothing in a world can keep an importer idle, except the program."""
    deep = plan.slots == LIMITS.slots and plan.queue_depth != IMPORTERS
    return plan.calm and plan.wide and len(plan.jobs) == 1 and deep and plan.calls_per_window >= LIMITS.calls_per_window


def _busy(seen: Seen) -> None:
    """From the moment when all importers have work to that of the last upload, they hardly ever lack it."""
    share = supplied_share(seen)
    demand(share >= BUSY_SHARE_MIN, "busy", f"importers had work for {share:.4f} of the time")


def supplied_share(seen: Seen) -> float:
    """Return for which share of that time the importers had work, as the emulator saw it.

    A batch that is there but has not begun, because Marketo takes its time, is work: nobody else can hasten it.
    """
    begin_ms = sorted(upload.started_ms for upload in seen.uploads)[IMPORTERS - 1]
    end_ms = seen.uploads[-1].at_ms
    moments = {begin_ms, end_ms} | {ms for each in seen.uploads for ms in (each.at_ms, each.finished_ms)}
    supplied_ms = 0
    for from_ms, to_ms in pairwise(sorted(ms for ms in moments if begin_ms <= ms <= end_ms)):
        there = sum(each.at_ms <= from_ms and to_ms <= each.finished_ms for each in seen.uploads)
        supplied_ms += min(there, IMPORTERS) * (to_ms - from_ms)
    return supplied_ms / (IMPORTERS * (end_ms - begin_ms))
