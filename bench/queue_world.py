"""A subscription's import queue in virtual time, for whoever imports through it.

The queue is the emulator's own.  An importer of ours, good or bad, is a generator: it yields how long it waits and
goes on when that time is over.  What it asks of the queue costs calls, which are counted here.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from orchestrator.emulator.config import EmulatorConfig
from orchestrator.emulator.queue import Batch, ImportQueue
from orchestrator.model import Leads, Priority

UPLOAD_MS = 1_000
ANSWER_MS = 100  # of a status call
HOUR_MS = 3_600_000

Actor = Generator[int, None, None]  # yields milliseconds to wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What is to be imported: one chunk of one job, and how long an importer takes for it."""

    job: int
    number: int
    rows: int
    duration_ms: int
    priority: Priority = Priority.NORMAL
    static_list: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is imported, and who else does."""

    name: str
    pieces: tuple[Piece, ...]
    strangers: tuple[tuple[int, int, int], ...] = ()  # (from, to, slots taken), times in milliseconds
    stranger_ms: int = 60_000  # how long one import of theirs takes


@dataclass(slots=True)
class Remote:
    """The queue with its clock, and what is counted about whoever uses it."""

    world: World
    queue: ImportQueue = field(init=False)
    now_ms: int = 0
    calls: int = 0
    full: int = 0  # 1016
    busy: int = 0  # 1019
    held_ms: int = 0  # sum over own batches of the time they held a slot
    held_max: int = 0
    first_ms: int | None = None
    last_ms: int = 0
    own: set[int] = field(default_factory=set)
    lists: dict[int, int] = field(default_factory=dict)  # batch -> static list
    done: dict[int, Batch] = field(default_factory=dict)
    spans: list[tuple[int, int, bool]] = field(default_factory=list)  # (started, ended, own)
    _ids: int = 1000
    _reached_ms: int = 0

    def __post_init__(self) -> None:
        self.queue = ImportQueue(EmulatorConfig())

    def advance(self, to_ms: int) -> None:
        """Let time pass."""
        self.now_ms = to_ms
        for what, batch in self.queue.due(to_ms):
            if what == "ended":
                assert batch.started_ms is not None
                assert batch.ended_ms is not None
                self.done[batch.id] = batch
                self.lists.pop(batch.id, None)
                self.spans.append((batch.started_ms, batch.ended_ms, batch.id in self.own))
                if batch.id in self.own:
                    self.held_ms += batch.ended_ms - batch.queued_ms
                    self.last_ms = max(self.last_ms, batch.ended_ms)

    def occupy(self, slots: int) -> None:
        """Let strangers hold this many slots, as far as there is room."""
        theirs = sum(batch.id not in self.own for batch in self.queue.batches)
        for _ in range(min(slots - theirs, self.queue.slots - self.queue.unfinished)):
            self._add(self.world.stranger_ms)

    def create(self, piece: Piece) -> int | None:
        """Take an upload; None if the queue is full (1016) or the list is busy (1019)."""
        self.calls += 1
        if piece.static_list is not None and piece.static_list in self.lists.values():
            self.busy += 1
            return None
        if self.queue.unfinished >= self.queue.slots:
            self.full += 1
            return None
        number = self._add(piece.duration_ms)
        self.own.add(number)
        if piece.static_list is not None:
            self.lists[number] = piece.static_list
        held = sum(batch.id in self.own for batch in self.queue.batches)
        self.held_max = max(self.held_max, held)
        self.first_ms = self.now_ms if self.first_ms is None else self.first_ms
        return number

    def status(self, number: int) -> str:
        """Answer a question after a batch."""
        self.calls += 1
        if number in self.done:
            return "Complete"
        return next(batch.status.value for batch in self.queue.batches if batch.id == number)

    def _add(self, duration_ms: int) -> int:
        self._ids += 1
        self.queue.add(
            Batch(
                id=self._ids,
                target=Leads(),
                rows=1,
                queued_ms=self.now_ms,
                eligible_ms=self.now_ms,
                duration_ms=duration_ms,
            )
        )
        self.advance(self.now_ms)
        return self._ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a world showed of one way to import."""

    makespan_s: float
    ideal_s: float  # all work spread evenly over the importers
    utilisation: float
    calls_per_batch: float
    full: int
    held_mean: float
    held_max: int


def run(world: World, actors: Callable[[Remote], Sequence[Actor]], *, hours_max: int = 500) -> Result:
    """Run a world until nobody has anything left to do."""
    remote = Remote(world)
    turns: list[tuple[int, int, Actor]] = []
    busy = list(actors(remote))
    living = len(busy)
    strangers = _strangers(remote, world.strangers)
    busy.append(strangers)
    for number, actor in enumerate(busy):
        heapq.heappush(turns, (0, number, actor))
    sequence = len(busy)
    while living:
        due_ms, _, actor = heapq.heappop(turns)
        if due_ms > hours_max * HOUR_MS:
            raise AssertionError(f"{world.name}: no end after {hours_max} hours")
        remote.advance(due_ms)
        wait_ms = next(actor, None)
        if wait_ms is None:
            living -= actor is not strangers
            continue
        sequence += 1
        heapq.heappush(turns, (due_ms + max(0, wait_ms), sequence, actor))
    remote.advance(remote.now_ms + 10 * HOUR_MS)
    return _result(remote)


def _strangers(remote: Remote, spans: Sequence[tuple[int, int, int]]) -> Actor:
    """Keep slots taken during each span, whenever there is room."""
    for begin_ms, end_ms, slots in spans:
        if remote.now_ms < begin_ms:
            yield begin_ms - remote.now_ms
        while remote.now_ms < end_ms:
            remote.occupy(slots)
            yield 250


def _result(remote: Remote) -> Result:
    assert remote.first_ms is not None
    first_ms, last_ms = remote.first_ms, remote.last_ms
    window_ms = last_ms - first_ms
    own_ms = sum(end - start for start, end, own in remote.spans if own)
    foreign_ms = sum(max(0, min(end, last_ms) - max(start, first_ms)) for start, end, own in remote.spans if not own)
    batches = len(remote.own)
    return Result(
        makespan_s=window_ms / 1000,
        ideal_s=own_ms / 1000 / remote.queue.importers,
        utilisation=own_ms / (remote.queue.importers * window_ms - foreign_ms),
        calls_per_batch=remote.calls / batches,
        full=remote.full,
        held_mean=remote.held_ms / window_ms,
        held_max=remote.held_max,
    )
