"""What must be true of every world after its end; each has the name by which a failure is told.

* **no-loss**: every source row stands in exactly one place of the report, and Marketo's records agree with it.
* **once**: nothing is accepted twice unless the outcome of an earlier upload was unknown, or the batch had failed.
* **order**: the last row of a key wins, and no key has two records.
* **limits**: slots, calls in a window and calls at a time, as the emulator counted them.
* **resume**: a life that ended repeats no finished work.
* **convergence**: once nothing goes wrong any more, everything is done within a stated time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from tests.simulation.plans import Row
from tests.simulation.world import HEALED_MS_MAX, Ended, Seen, Upload

# A row that Marketo would have taken fails only with its whole batch.
BATCH_FAILED = "Batch failed:"


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


def _converged(ended: Ended, seen: Seen) -> None:
    demand(ended.summary["state"] == "complete", "convergence", (ended.id, ended.summary["exit_reasons"]))
    late_ms = seen.done_ms - seen.plan.healthy_ms
    allowed_ms = HEALED_MS_MAX + 2 * seen.plan.work_ms
    told = f"{late_ms / 60_000:.0f} minutes after everything healed, {allowed_ms / 60_000:.0f} are allowed"
    demand(late_ms < allowed_ms, "convergence", told)


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
    for store, key in (("leads", "email"), ("car_c", "vin")):
        found = Counter(str(record["values"].get(key, "")).casefold() for record in seen.records[store])
        twice = [key for key, count in found.items() if key and count > 1]
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
        doubtful: set[str] = set()
        for row, certain in _taken(ended):
            last[row.key] = row, certain
            doubtful |= set() if certain else {row.key}
        for key, (row, _) in last.items():
            at = (ended.plan.store, key)
            demand(key in doubtful or at in values, "no-loss", f"a row of {ended.id} left no record")
            if key not in doubtful and users[at] == {ended.id}:
                value = values[at][ended.plan.columns[1]]
                demand(value == row.value, "order", f"{ended.id}: the record is {value!r}, the last row {row.value!r}")


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
    demand(seen.unfinished_max <= 10, "limits", f"{seen.unfinished_max} slots")
    processes = 1 + len(seen.plan.rivals_ms) + len(seen.plan.lives)  # each keeps to the limits by itself
    demand(
        seen.in_window_max <= processes * seen.plan.calls_per_window,
        "limits",
        f"{seen.in_window_max} calls in a window",
    )
    if not seen.plan.occupations and not any(trouble.get("code") == "1016" for trouble in seen.plan.troubles):
        demand(seen.queue_full == 0, "limits", f"the own queue was found full {seen.queue_full} times")
    demand(seen.in_flight_max <= 5 * processes, "limits", f"{seen.in_flight_max} calls at a time")
