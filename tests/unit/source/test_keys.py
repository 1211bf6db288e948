import os
import subprocess
import sys
import tracemalloc
import unicodedata
from hashlib import blake2b
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator import records
from orchestrator.source.keys import claims, overlap, overlaps
from orchestrator.source.normal import _NUMBER, BLANKS, normalise, normalised
from orchestrator.source.plain import CELL_BYTES_MAX, STEPS_MAX
from tests.unit.source import generate, machine
from tests.unit.source.test_mixing import number

SALT = b"0123456789abcdef"
GENERATED_CHUNKS = int(os.environ.get("GENERATED_FILES", "500")) // 2
BLOCK_SIZES = (1, 7, 63, 64, 65, 200, 1000, 5000, 1 << 18)
BLOCKS_MAX = 40  # of a generated chunk, which is to be read quickly


def of(*keys):
    return claims("".join(records.write_record([key]) for key in keys).encode(), ",", (0,), SALT)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  Ann@Example.COM\t", "ann@example.com"),
        ("\xa0a\u200b\ufeff\0", "a"),
        ("Zoë", "zoe"),
        ("Zoe\u0308", "zoe"),
        ("STRASSE", "strasse"),
        ("straße", "strasse"),
        ("ﬁ", "fi"),
        ("Ａ１", "a1"),
        ("İ", "i"),
        ("007", "7"),
        ("+7.0", "7"),
        ("-7.", "7"),
        ("000", "0"),
        ("7.5", "7.5"),
        ("0x7", "0x7"),
        ("00 7", "00 7"),
        ("１２", "12"),
        ("", ""),
        (" \r\n ", ""),
    ],
)
def test_spellings_that_may_be_equal_become_equal(text, normal):
    assert normalise(text) == normal


@given(st.text())
@example("\u03aa\u0345")
@example("ﬃ\u0301\u1680")
@example("\u0345 \u0345")
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


def normal_alone(text):
    """Return the normal form of one text, one character after the other."""
    text = text.strip(BLANKS)
    if text.isascii():
        text = text.lower()
    else:
        folded = None
        while folded != text:
            text = text if folded is None else folded
            decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
            folded = "".join(char for char in decomposed if not unicodedata.combining(char)).strip(BLANKS)
    whole = _NUMBER.fullmatch(text)
    return whole[1] if whole else text


@given(st.lists(st.one_of(st.text(max_size=5), st.text(st.sampled_from("aÀ\u0300\u0315\n\xa0ꭰᎠİΣςﬃ0+."), max_size=5))))
@example(["\u0315é", "\u0300", "a\nb", ""])
def test_many_texts_have_the_normal_forms_that_each_has_alone(texts):
    assert normalised(texts) == [normal_alone(text) for text in texts]


def test_claims_are_sorted_unique_and_of_64_bits():
    found = claims(b"b,2\na,1\nB ,3\n\nc,4\n", ",", (0,), SALT)
    assert found.dtype == np.uint64
    assert len(found) == 3
    assert (np.diff(found) > 0).all()


def test_claims_follow_the_grammar_of_records():
    assert np.array_equal(claims(b'1,"a\nb"\n2,12" x\n', ",", (1,), SALT), of("a\nb", '12" x'))
    assert np.array_equal(claims(b"1;x\n2;y\n", ";", (1,), SALT), of("x", "y"))


def test_an_empty_or_missing_key_claims_nothing():
    assert len(claims(b'a,\nb, \nc\n"d","\xc2\xa0"\n', ",", (1,), SALT)) == 0
    assert len(claims(b"a,,c\n,b,c\na,b,c\n", ",", (0, 1), SALT)) == 1
    assert claims(b"", ",", (0,), SALT).dtype == np.uint64


def test_compound_keys_keep_their_parts_apart():
    both = claims(b"ab,c\na,bc\n", ",", (0, 1), SALT)
    assert len(both) == 2
    assert not overlap(claims(b"x,y\n", ",", (0, 1), SALT), claims(b"x,y\n", ",", (1, 0), SALT))


def test_the_salt_decides():
    assert not overlap(claims(b"a\n", ",", (0,), SALT), claims(b"a\n", ",", (0,), SALT[::-1]))


def test_claims_are_the_same_in_every_process():
    program = (
        f"from orchestrator.source.keys import claims; print(claims(b'a@x.com\\n7\\n', ',', (0,), {SALT!r}).tolist())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {f"{of('a@x.com', '7').tolist()}\n"}
    assert of("A@x.com").tolist() == [0x17AB49822EF48A70], "stored claims outlive this version"


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_overlap_is_what_sets_say(a, b):
    arrays = [np.array(sorted(values), np.uint64) for values in (a, b)]
    assert overlap(*arrays) is bool(a & b)


NUMBERS_ALIKE = st.builds(lambda begin, end: begin << 41 | end, st.integers(2**23 - 3, 2**23 - 1), st.integers(0, 5))


@given(st.sets(NUMBERS_ALIKE, max_size=8), st.lists(st.sets(NUMBERS_ALIKE, max_size=8)))
def test_many_overlaps_are_what_sets_say(ours, others):
    arrays = [np.array(sorted(values), np.uint64) for values in (ours, *others)]
    assert list(overlaps(arrays[0], arrays[1:])) == [bool(ours & other) for other in others]


@given(st.lists(st.text(st.sampled_from('aA1 0é"\n,'), max_size=4), max_size=8))
def test_two_records_share_a_claim_exactly_if_their_keys_are_normally_equal(keys):
    assert len(of(*keys)) == len({normalise(key) for key in keys} - {""})


# --- as the machine reads them, a character at a time -------------------------------------------------------------

PIECES = (
    *(
        "a",
        "B",
        "ann@X.com",
        "7",
        "0",
        "00",
        "-",
        "+",
        ".",
        ".0",
        "12",
        "é",
        "\u0301",
        "\xa0",
        "ß",
        "日本",
        "🙂",
        "x" * 40,
    ),
    *(
        " ",
        "\t",
        "\0",
        "\x7f",
        "\r",
        "\r\n",
        "\n",
        '"',
        '""',
        '"a"',
        ",",
        ";",
        " " * (STEPS_MAX + 1),
        "0" * (STEPS_MAX + 2),
    ),
    *("y" * 255, "z" * 257, "\u00fc" * 129),
)
NUMBERS = (
    "7",
    "007",
    "+7",
    "-7.0",
    "7.",
    "7.00",
    "7.5",
    "0",
    "000",
    "-0.0",
    "1-2",
    "+",
    ".",
    ".0",
    "+.",
    "1.2.3",
    "0x7",
)


def claims_by_the_machine(data, delimiter, indexes):
    found = set()
    for _, _, _, cells in machine.read(data, delimiter).records:
        if cells is None or len(cells) <= max(indexes):
            continue
        parts = [normal_alone(cells[index]).encode("utf-8", "surrogatepass") for index in indexes]
        if all(parts):
            short = [part if len(part) <= 256 else b"\xff" + blake2b(part).digest() for part in parts]
            found.add(number(short, SALT))
    return sorted(found)


def check(data, delimiter, indexes, block_bytes):
    found = claims(data, delimiter, indexes, SALT, block_bytes=block_bytes).tolist()
    assert found == claims_by_the_machine(data, delimiter, indexes), (data, delimiter, indexes, block_bytes)
    return found


def keys_of(random, delimiter):
    """Records of which most have an ordinary key."""
    line_end = random.choice(["\n", "\r\n"])
    width = random.randrange(1, 5)
    odd, quoted, blanks = random.choice([0, 0.02, 0.3]), random.choice([0, 0.3, 1]), random.choice([0, 0.1, 0.9])
    lines = []
    for row in range(random.randrange(1, 60)):
        cells = []
        for _ in range(width if random.random() > odd else random.randrange(6)):
            cell = random.choice((f"Person{row}@example.com", f"{row:05}", f"{row}.0", *NUMBERS))
            if random.random() < odd:
                cell = "".join(random.choices(PIECES, k=random.randrange(6)))
            if random.random() < blanks:
                cell = (
                    random.choice(("", " ", "\t ", " " * STEPS_MAX)) + cell + random.choice(("", " ", "\r", "\x7f\x7f"))
                )
            if random.random() < quoted:
                cell = '"' + (cell if random.random() < odd else cell.replace('"', '""')) + '"'
            cells.append(cell)
        lines.append(delimiter.join(cells))
    return line_end.join(lines) + random.choice(("", line_end))


@pytest.mark.timeout(120 + GENERATED_CHUNKS // 5)  # seconds: a hang is still found when many chunks are asked for
def test_generated_chunks_claim_what_the_machine_finds():
    claimed = 0
    for seed in range(GENERATED_CHUNKS):
        random = Random(seed)
        delimiter = random.choice(",;\t")
        data = keys_of(random, delimiter).encode()
        if random.random() < 0.3:
            data = generate.body(random, delimiter, rows_max=60).encode()
        if random.random() < 0.1:
            data = data.replace(b"a", random.choice((b"\xff", b"\xe2\x82", b"\xf0\x90\x80")))
        indexes = random.choice(((0,), (0,), (1,), (2,), (3,), (0, 1), (2, 0), (1, 1)))
        for block_bytes in random.sample([size for size in BLOCK_SIZES if len(data) <= BLOCKS_MAX * size], 2):
            claimed += len(check(data, delimiter, indexes, block_bytes))
    assert claimed > 10 * GENERATED_CHUNKS, "the generator has become too tame"


@pytest.mark.timeout(120 + GENERATED_CHUNKS // 5)
@settings(max_examples=GENERATED_CHUNKS, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), max_size=30),
    st.sampled_from(",;\t"),
    st.sampled_from([(0,), (1,), (2,), (1, 0)]),
    st.sampled_from(BLOCK_SIZES),
)
def test_any_text_claims_what_the_machine_finds(pieces, delimiter, indexes, block_bytes):
    check("".join(pieces).replace(";", delimiter).encode(), delimiter, indexes, block_bytes)


@pytest.mark.parametrize("cell", [*NUMBERS, *PIECES, '"a" ', '" a "x', ' "a"', '"a""b"', '"', '"" ', '"7.0"', "7 .0"])
def test_every_kind_of_cell_claims_what_the_machine_finds(cell):
    for block_bytes in (1, 64, 1000):
        for at in range(3):
            cells = ["k", "k", "k"]
            cells[at] = cell
            check(("q,q,q\n" + ",".join(cells) + "\r\nl,m,n").encode(), ",", (at,), block_bytes)
            check((",".join(cells)).encode(), ",", (at,), block_bytes)


# --- limits -------------------------------------------------------------------------------------------------------


def test_keys_longer_than_any_field_match_by_their_beginning():
    long = "é" + "b" * CELL_BYTES_MAX
    assert len(of(long + "x", long + "y", "c" + long, " " * CELL_BYTES_MAX + "ann@x.com")) == 3
    padded = f'"{" " * CELL_BYTES_MAX}ann@x.com"\n'.encode()
    assert np.array_equal(claims(padded, ",", (0,), SALT), of("ann@x.com"))


@pytest.mark.parametrize(
    "data",
    [
        b"a\n" * 250_000 + b"x," * 4_000_000,
        b"\n" * 9_000_000 + b"a\n",
        b'"' + b'a""' * 3_000_000 + b'"',
        "ﷺ".encode() * 3_000_000,
        "".join(f" é{row}\n" for row in range(30_000)).encode(),
    ],
    ids=["short records, long record", "blank lines", "doubled quotes", "a text that folding makes long", "accents"],
)
def test_the_worst_chunks_take_little_memory(data):
    tracemalloc.start()
    try:
        claims(data, ",", (0,), SALT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64_000_000
