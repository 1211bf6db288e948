from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.emulator.multipart import read_form
from orchestrator.errors import Refused
from orchestrator.marketo.wire import Multipart

B = "boundary1234567890"
TYPE = f"multipart/form-data; boundary={B}"


def code(content_type: str, body: bytes) -> str | None:
    with pytest.raises(Refused) as caught:
        read_form(content_type, body)
    return caught.value.code


@given(st.binary(max_size=300), st.text(alphabet="abcXYZ019._-", min_size=1, max_size=20))
def test_what_the_client_frames_comes_out_again(data, name):
    frame = Multipart(B, name)
    form = read_form(frame.content_type, frame.prefix + data + frame.suffix)
    assert (form.file, form.filename, form.fields) == (data, name, {})


def test_fields_beside_the_file_and_a_preamble():
    body = (
        f'ignored\r\n--{B}\r\nContent-Disposition: form-data; name="format"\r\n\r\ncsv\r\n'
        f'--{B}  \r\ncontent-type: text/plain\r\ncontent-disposition: form-data; name="file"; filename="a b.csv"\r\n\r\n'
        f"x\r\n\r\n--y\r\n--{B}--\r\nepilogue"
    ).encode()
    form = read_form(f'Multipart/Form-Data; boundary="{B}"', body)
    assert (form.file, form.filename, form.fields) == (b"x\r\n\r\n--y", "a b.csv", {"format": "csv"})


def test_a_form_without_a_file():
    body = f'--{B}\r\nContent-Disposition: form-data; name="other"\r\n\r\n\r\n--{B}--\r\n'.encode()
    form = read_form(TYPE, body)
    assert (form.file, form.fields) == (None, {"other": ""})


@pytest.mark.parametrize("content_type", ["", "text/csv", "application/json", "multipart/mixed; boundary=x"])
def test_other_kinds_of_bodies(content_type):
    assert code(content_type, b"") == "612"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x--"),
        (TYPE, b""),
        (TYPE, b"no boundary at all"),
        (TYPE, f"--{B}\r\nContent-Disposition: form-data; name=file\r\n\r\nnever ends".encode()),
        (TYPE, f"--{B}\r\nContent-Type: text/csv\r\n\r\nnameless\r\n--{B}--".encode()),
        (TYPE, f"--{B}\r\nno end of its head\r\n--{B}--".encode()),
        (TYPE, (f'--{B}\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 101 + f"--{B}--").encode()),
    ],
)
def test_broken_bodies(content_type, body):
    assert code(content_type, body) == "613"
