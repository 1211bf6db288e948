import struct
from hashlib import blake2b

import numpy as np
import pytest

from orchestrator.source.mixing import TEXT_BYTES_MAX, WORD_BYTES, numbers, shortened

SALT = b"0123456789abcdef"
MASK = 2**64 - 1


def number(texts, salt):
    """The number of one sequence of texts, with nothing but integers."""

    def mixed(word):
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & MASK
        word = (word ^ word >> 27) * 0x94D049BB133111EB & MASK
        return word ^ word >> 31

    state, last = struct.unpack("<2Q", blake2b(key=salt, digest_size=16).digest())
    for text in texts:
        state = mixed(state ^ len(text))
        for at in range(0, len(text), 8):
            state = mixed(state ^ int.from_bytes(text[at : at + 8], "little"))
    return mixed(state ^ last)


def laid_out(texts):
    """Texts one behind the other, and something behind them that must not count."""
    lengths = np.array([len(text) for text in texts], np.int64)
    ends = np.cumsum(lengths)
    return np.frombuffer(b"".join(texts) + b"\xaa" * WORD_BYTES, np.uint8), ends - lengths, ends


def of(texts, salt=SALT):
    return numbers([laid_out(texts)], len(texts), salt)


def test_all_lengths_have_the_number_that_integers_give():
    texts = [bytes(range(length % 256)) + bytes(length - length % 256) for length in range(TEXT_BYTES_MAX + 1)]
    assert of(texts).tolist() == [number([text], SALT) for text in texts]
    assert numbers([laid_out(texts), laid_out(texts[::-1])], len(texts), SALT).tolist() == [
        number(both, SALT) for both in zip(texts, texts[::-1], strict=True)
    ]
    assert of([]).tolist() == []


def test_long_texts_are_represented_by_what_no_text_is():
    longest = b"a" * TEXT_BYTES_MAX
    assert shortened(longest) == longest
    assert len({shortened(longest + b"a"), shortened(longest + b"b")}) == 2
    assert len(shortened(longest * 1000)) <= TEXT_BYTES_MAX
    with pytest.raises(UnicodeDecodeError):
        shortened(longest + b"a").decode()


def test_every_bit_changes_every_bit_in_half_of_the_cases():
    count = 4_000
    random = np.random.default_rng(1)
    for length in (3, 8, 9, 20):
        texts = random.integers(0, 256, (count, length), np.uint8)
        before = of([row.tobytes() for row in texts])
        for bit in range(8 * length):
            changed = texts.copy()
            changed[:, bit // 8] ^= np.uint8(1 << bit % 8)
            flipped = before ^ of([row.tobytes() for row in changed])
            shares = np.unpackbits(flipped.view(np.uint8).reshape(count, 8), axis=1).mean(axis=0)
            assert abs(shares - 0.5).max() < 0.05, f"bit {bit} of {length} bytes"  # six times the spread of chance


def test_salts_change_half_of_the_bits():
    texts = [b"person%d@example.com" % row for row in range(4_000)]
    flipped = of(texts) ^ of(texts, SALT[:-1] + b"g")
    assert abs(np.bitwise_count(flipped).mean() - 32) < 0.5


@pytest.mark.parametrize("pattern", [b"%d", b"person%d@example.com"])
def test_two_million_keys_of_one_kind_all_have_numbers_of_their_own(pattern):
    found = np.sort(of([pattern % row for row in range(2_000_000)]))
    assert (found[1:] != found[:-1]).all()
    for shift in (0, 28, 56):  # any eight bits are spread evenly
        counts = np.bincount((found >> np.uint64(shift)).astype(np.uint8), minlength=256)
        assert abs(counts - 2_000_000 / 256).max() < 6 * (2_000_000 / 256) ** 0.5


def test_sequences_of_the_same_bytes_have_numbers_of_their_own():
    texts = [b"a" * first for first in range(60)]
    pairs = [(first, second) for first in texts for second in texts]
    columns = [laid_out([pair[at] for pair in pairs]) for at in range(2)]
    assert len(set(numbers(columns, len(pairs), SALT).tolist())) == len(pairs)
    assert len(set(of([b"\0" * length for length in range(200)]).tolist())) == 200
