"""Which batch an upload became: only what all possible histories agree on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model import BatchId, ChunkId
from orchestrator.schedule.adoption import Doubtful, Found, assign


def doubt(number: int, *, landed: bool = False) -> Doubtful:
    return Doubtful(chunk=ChunkId(number), landed=landed)


def batch(number: int, *fits: int, ours: bool = False, certain: bool = True) -> Found:
    return Found(batch_id=BatchId(number), fits=frozenset(map(ChunkId, fits)), ours=ours, certain=certain)


def test_one_that_landed_and_one_batch_that_fits():
    assert assign([doubt(1, landed=True)], [batch(101, 1)]) == {1: 101}


def test_a_batch_that_fits_proves_nothing_by_itself():
    assert assign([doubt(1)], [batch(101, 1)]) == {}


def test_rows_that_stand_in_no_other_file_prove_it():
    assert assign([doubt(1)], [batch(101, 1, ours=True)]) == {1: 101}


def test_a_strangers_batch_of_the_same_size_leaves_it_open():
    assert assign([doubt(1, landed=True)], [batch(101, 1), batch(102, 1)]) == {}
    assert assign([doubt(1, landed=True)], [batch(101), batch(102, 1)]) == {1: 102}


def test_two_in_a_row_are_taken_in_their_order():
    both = [doubt(1, landed=True), doubt(2, landed=True)]
    assert assign(both, [batch(101, 1, 2), batch(102, 1, 2)]) == {1: 101, 2: 102}
    assert assign(both, [batch(101, 1, 2), batch(102, 1, 2), batch(103, 1, 2)]) == {}
    assert assign(both, [batch(101, 1, 2), batch(102, 1), batch(103, 1, 2)]) == {2: 103}


def test_one_of_two_landed():
    assert assign([doubt(1), doubt(2, landed=True)], [batch(101, 1, 2)]) == {2: 101}
    assert assign([doubt(1), doubt(2, landed=True)], [batch(101, 1, 2), batch(102, 1, 2)]) == {}
    assert assign([doubt(1), doubt(2, landed=True)], [batch(101, 1), batch(102, 2)]) == {2: 102}


def test_a_batch_that_cannot_be_judged_is_never_taken_and_leaves_others_open():
    failed = batch(101, 1, certain=False)
    assert assign([doubt(1, landed=True)], [failed]) == {}
    assert assign([doubt(1, landed=True)], [failed, batch(102, 1)]) == {}


def test_evidence_that_contradicts_itself_proves_nothing():
    assert assign([doubt(1, landed=True), doubt(2, landed=True)], [batch(101, 1)]) == {}
    assert assign([], [batch(101, ours=True)]) == {}
    assert assign([doubt(1, landed=True)], [batch(101, 1), batch(102, ours=True)]) == {}


# --- against all assignments, one by one ---------------------------------------------------------------------


def every(doubtful: Sequence[Doubtful], found: Sequence[Found]) -> Iterator[dict[ChunkId, Found]]:
    """Yield all possible assignments."""
    if not doubtful:
        if not any(each.ours for each in found):
            yield {}
        return
    first, rest = doubtful[0], doubtful[1:]
    if not first.landed:
        yield from every(rest, found)
    for at, each in enumerate(found):
        if first.chunk in each.fits:
            for other in every(rest, found[at + 1 :]):
                yield {first.chunk: each, **other}
        if each.ours:
            return  # it may not be passed over


@st.composite
def evidence(draw: st.DrawFn) -> tuple[list[Doubtful], list[Found]]:
    uploads = [doubt(number, landed=draw(st.booleans())) for number in range(draw(st.integers(0, 4)))]
    numbers = st.sets(st.integers(0, 3).filter(lambda number: number < len(uploads)) if uploads else st.nothing())
    batches = [
        batch(100 + at, *draw(numbers), ours=draw(st.integers(0, 3)) == 0, certain=draw(st.integers(0, 4)) > 0)
        for at in range(draw(st.integers(0, 6)))
    ]
    return uploads, batches


@given(evidence())
def test_what_is_certain_is_what_all_assignments_agree_on(drawn):
    uploads, batches = drawn
    possible = list(every(uploads, batches))
    agreed: dict[ChunkId, BatchId] = {}
    for upload in uploads:
        named = {one.get(upload.chunk) for one in possible}
        if len(named) == 1 and (only := named.pop()) is not None and only.certain:
            agreed[upload.chunk] = only.batch_id
    assert assign(uploads, batches) == agreed


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Doubtful], list[Found], Mapping[ChunkId, BatchId]]:
    """Draw what happened, strangers with batches of the same sizes included, and what can be seen of it."""
    sizes = [draw(st.integers(1, 2)) for _ in range(draw(st.integers(1, 4)))]
    uploads: list[Doubtful] = []
    batches: list[Found] = []
    truth: dict[ChunkId, BatchId] = {}

    def arrive(rows: int, chunk: int | None) -> None:
        fits = {number for number, size in enumerate(sizes) if size == rows}
        certain = draw(st.integers(0, 4)) > 0
        ours = chunk is not None and certain and draw(st.booleans())
        if ours:  # its listing has rows of this chunk alone
            fits = {chunk}
        if chunk is not None:
            truth[ChunkId(chunk)] = BatchId(100 + len(batches))
        batches.append(batch(100 + len(batches), *fits, ours=ours, certain=certain))

    for number, rows in enumerate(sizes):
        for _ in range(draw(st.integers(0, 2))):
            arrive(draw(st.integers(1, 3)), None)
        accepted = draw(st.booleans())
        if accepted:
            arrive(rows, number)
        uploads.append(doubt(number, landed=accepted and draw(st.booleans())))
    for _ in range(draw(st.integers(0, 2))):
        arrive(draw(st.integers(1, 3)), None)
    return uploads, batches, truth


@given(histories())
def test_a_strangers_batch_is_never_taken(drawn):
    uploads, batches, truth = drawn
    assert assign(uploads, batches).items() <= truth.items()
