import pytest

from orchestrator.errors import EncodingError, HeaderError, UnterminatedQuote
from orchestrator.model import Format
from orchestrator.source import detect


def examine(head, *, whole=True, given=None):
    return detect.examine(head, whole=whole, given=given, name="x.csv")


@pytest.mark.parametrize(
    ("text", "certain"),
    [
        (b"email,name\na,b\nc,d\n", Format.CSV),
        (b"email\tname\na\tb, c\nc\td\n", Format.TSV),
        (b"email;score\na;1,5\nb;2\n", Format.SSV),
        (b'email;note\na;"x;y"\nb;"1\n2;3"\n', Format.SSV),
        (b"email\na\nb\n", Format.CSV),
        (b"email;name\na;b;c\nd\n", Format.SSV),
        (b"email;name,note\na;b;c\nd\n", Format.CSV),
        (b'"e,mail"\tname\na\nb\tc\td\n', Format.TSV),
        (b"email;a,b\nx;y,z\n", Format.CSV),
        (b"email;name", Format.SSV),
        (b"", Format.CSV),
    ],
)
def test_the_format_is_detected_only_where_it_is_certain(text, certain):
    assert detect.detect_format(text, whole=True) is certain


def test_a_record_cut_off_by_the_sample_does_not_count():
    rows = b"email;name\n" + b"a;b\n" * 5
    assert detect.detect_format(rows + b"only-half", whole=False) is Format.SSV
    assert not detect._is_regular(rows + b"only-half", ";", whole=True)
    long = b"email;name\n" + b"a;" + b"x" * detect.SAMPLE_BYTES_MAX + b"\n"
    assert detect.detect_format(long, whole=True) is Format.SSV


def test_a_given_format_is_taken_as_it_is():
    assert examine(b"a;b\n1;2\n").columns == ("a", "b")
    assert examine(b"a;b\n1;2\n", given=Format.CSV).columns == ("a;b",)
    assert examine(b"a,b\n1,2\n", given=Format.TSV).format is Format.TSV


def test_the_header_is_the_first_record_that_is_no_blank_line():
    found = examine(b'\xef\xbb\xbf\r\n\n"a\r\n,""q""",b\r\n\n1,2\n')
    assert found.header == b'"a\r\n,""q""",b\r\n'
    assert found.columns == ('a\r\n,"q"', "b")
    assert (found.data_start, found.lines, found.blank_lines) == (21, 4, 2)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        ("a,b\n".encode("utf-16-le"), "NUL"),
        ("a,b\n".encode("utf-16-be"), "NUL"),
        ("a,b\n".encode("utf-32-be"), "NUL"),
    ],
)
def test_what_is_no_text_is_named(head, what):
    with pytest.raises(EncodingError, match=f"x.csv: .*{what}"):
        examine(head)


def test_a_nul_in_the_first_record_is_data():
    assert examine(b"a\n\0b\n").columns == ("a",)


def test_a_header_that_does_not_end():
    with pytest.raises(HeaderError, match=r"does not end within 1,048,576 bytes\. .* lines never end"):
        examine(b"a" * 100, whole=False)
    with pytest.raises(HeaderError, match="a quote opened in line 2 is never closed"):
        examine(b'\na,"b\n\n' + b"1,2\n" * 100, whole=False)
    with pytest.raises(UnterminatedQuote, match="opens in line 1, in the header"):
        examine(b'a,"b\n1,2\n')


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    ("line", "form"),
    [(b"sep=;\n", Format.SSV), (b"SEP=,\r\n", Format.CSV), (b'"sep=;"\r\n', Format.SSV), (b"sep=\t\n", Format.TSV)],
)
def test_a_line_for_excel_is_a_line_and_no_header(mark, line, form):
    header = b"email%cname;x,y\tz\n" % ord(form.delimiter)
    found = examine(mark + line + b"\n" + header + b"a\n")
    assert (found.format, found.header, found.columns[0]) == (form, header, "email")
    assert (found.data_start, found.lines, found.blank_lines) == (len(mark + line + header) + 1, 3, 1)


def test_the_format_that_is_given_wins_over_the_line_for_excel():
    found = examine(b"sep=;\na,b\n1,2\n", given=Format.CSV)
    assert (found.format, found.columns, found.lines) == (Format.CSV, ("a", "b"), 2)


def test_a_line_for_excel_that_cannot_be_followed_is_told():
    with pytest.raises(HeaderError, match=r"x\.csv: line 1 says that cells are separated by '\|'"):
        examine(b"sep=|\na|b\n")


@pytest.mark.parametrize("head", [b"sep=\n1\n", b"sep=this-is-a-name-of-a-column\n1\n", b"separator\nx\n"])
def test_other_lines_are_headers(head):
    assert examine(head).header == head.splitlines(keepends=True)[0]
