import os
import subprocess
import sys
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator import records
from orchestrator.source.keys import claims, normalise, overlap

SALT = b"0123456789abcdef"


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
    known = blake2b(b"a@x.com", digest_size=8, key=SALT).digest()
    assert of("A@x.com").tolist() == [int.from_bytes(known, "little")], "stored claims outlive this version"


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_overlap_is_what_sets_say(a, b):
    arrays = [np.array(sorted(values), np.uint64) for values in (a, b)]
    assert overlap(*arrays) is bool(a & b)


@given(st.lists(st.text(st.sampled_from('aA1 0é"\n,'), max_size=4), max_size=8))
def test_two_records_share_a_claim_exactly_if_their_keys_are_normally_equal(keys):
    assert len(of(*keys)) == len({normalise(key) for key in keys} - {""})
