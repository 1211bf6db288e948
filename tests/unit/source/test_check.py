import pytest

from orchestrator.errors import HeaderError
from orchestrator.model import FileIdentity, Format, Source
from orchestrator.records import write_record
from orchestrator.source.check import NAME_CHARS_SHOWN_MAX, PROBLEMS_SHOWN_MAX, check_header

FIELDS = {"email": True, "firstName": True, "lastName": True, "id": False, "createdAt": False, "vin": False}


def check(*columns, keys=("email",), form=Format.CSV):
    header = write_record(columns, form.delimiter).encode()
    source = Source(
        index=0,
        path="leads.csv",
        absolute="/data/leads.csv",
        content="/data/leads.csv",
        identity=FileIdentity(device=1, inode=1, size_bytes=1, mtime_ns=1),
        sha256="",
        encoding="utf-8",
        format=form,
        header=header,
        columns=columns,
        rows=1,
        blank_lines=0,
    )
    check_header(source, fields=FIELDS, key_columns=keys)


def problems(*columns, **how):
    with pytest.raises(HeaderError) as raised:
        check(*columns, **how)
    heading, *found = str(raised.value).split("\n  - ")
    assert heading == "leads.csv: the header cannot be imported as it is; nothing was sent."
    return found


def test_a_header_that_fits():
    check("email", "lastName")
    check("id", "lastName", keys=("id",))
    check("vin", "email", keys=("vin", "email"))
    check("cookies", "email", keys=("cookies",))
    check("cookies", keys=("cookies",))


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        (("email", "fristName"), "column 2, 'fristName': there is no such field; did you mean 'firstName'?"),
        (("email", "FIRSTNAME"), "column 2, 'FIRSTNAME': there is no such field; did you mean 'firstName'?"),
        (("email", "shoeSize"), "column 2, 'shoeSize': there is no such field; rename or remove the column"),
        (("email", "createdAt"), "column 2, 'createdAt': this field cannot be written; remove the column"),
        (("email", "id"), "column 2, 'id': this field cannot be written; remove the column"),
        (("email", " lastName"), "column 2, ' lastName': there are blanks around the name; remove them"),
        (("email", " "), "column 2 has no name; name it, or remove it"),
        (("email", "lastName", "lastName"), "'lastName' is the name of 2 columns; remove or rename all but one"),
        (("email", "email"), "'email' is the name of 2 columns; remove or rename all but one"),
        (("lastName",), "there is no column 'email', by which records are found again; add it"),
    ],
)
def test_one_problem(columns, problem):
    assert problems(*columns) == [problem]


def test_all_problems_are_told_at_once():
    assert problems(" vin", "createdAt", keys=("vin", "email")) == [
        "column 1, ' vin': there are blanks around the name; remove them",
        "column 2, 'createdAt': this field cannot be written; remove the column",
        "there is no column 'vin', by which records are found again; add it",
        "there is no column 'email', by which records are found again; add it",
    ]


def test_a_message_stays_readable():
    found = problems("email", *(f"{number}{'x' * 100}" for number in range(50)))
    assert len(found) == PROBLEMS_SHOWN_MAX + 1
    assert found[-1] == "and 30 more"
    assert f"'0{'x' * (NAME_CHARS_SHOWN_MAX - 1)}…'" in found[0]


def test_data_in_place_of_a_header_is_not_repeated():
    with pytest.raises(HeaderError) as raised:
        check("ann@example.com", "Ann", "Miller")
    assert "none of the 3 column(s)" in str(raised.value)
    assert "ann" not in str(raised.value).casefold()


def test_another_delimiter_is_suggested():
    with pytest.raises(HeaderError, match="give the format: --format ssv"):
        check("email;lastName")
    with pytest.raises(HeaderError, match="give the format: --format csv"):
        check("email,lastName", form=Format.TSV)
