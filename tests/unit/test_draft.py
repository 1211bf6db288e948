"""Drafts of mappings: what is matched, what is left to a person, and that a draft is always a mapping."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.draft import draft
from orchestrator.mapping import Column, parse
from orchestrator.marketo.reads import Field, Relationship, Schema
from orchestrator.model import MappingFile


def field(name: str, display_name: str, data_type: str = "string", *, updateable: bool = True) -> Field:
    return Field(name=name, display_name=display_name, data_type=data_type, length=255, updateable=updateable)


FIELDS = (
    field("id", "Id", "integer", updateable=False),
    field("email", "Email Address", "email"),
    field("firstName", "First Name"),
    field("company", "Company Name"),
    field("dateOfBirth", "Date of Birth", "date"),
    field("createdAt", "Created At", "datetime", updateable=False),
    field("billingCity", "City"),
    field("city", "City"),
)
SCHEMA = Schema(name="lead", fields=FIELDS, dedupe_fields=("email",))


def drafted(*columns: str, schema: Schema = SCHEMA, keys: tuple[str, ...] = ("email",)) -> str:
    return draft(columns, schema, keys)


def mapping_of(text: str) -> dict[str, Column]:
    return dict(parse(MappingFile(name="map.toml", text=text)).columns)


def test_columns_get_the_names_of_fields():
    text = drafted("E-Mail", "first name", "Company  Name", "Date Of Birth", "billingCity", "City")
    assert mapping_of(text) == {
        "E-Mail": Column(to="email"),
        "first name": Column(to="firstName"),
        "Company  Name": Column(to="company"),
        "Date Of Birth": Column(to="dateOfBirth"),
        "City": Column(to="city"),
    }
    assert "# Fields as they stand: billingCity" in text
    assert (
        '[columns."Date Of Birth"]  # Date of Birth: date, up to 255 characters\nto = "dateOfBirth"\n# date = ' in text
    )


def test_what_is_not_certain_is_a_comment():
    text = drafted("Email Address", "E-Mail", "Created At", "id", "Frist Name", "Shoe Size")
    assert mapping_of(text) == {"E-Mail": Column(to="email")}  # the name of a field before the name on its screens
    assert '# [columns."Email Address"]\n# to = "email"  # which another column is taken for\n# drop = true' in text
    assert '# Created At: datetime, up to 255 characters; it cannot be written.\n# [columns."Created At"]\n' in text
    assert "# Id: integer, up to 255 characters; it cannot be written.\n# [columns.id]\n# drop = true" in text
    assert '# [columns."Frist Name"]\n# to = "firstName"  # the most similar one\n# drop = true' in text
    assert (
        "# No field has this name. Say which one is meant, or drop the column; as it is, the import is refused.\n"
        in text
    )
    assert '# [columns."Shoe Size"]\n# drop = true' in text


def test_a_key_that_no_column_seems_to_be_is_told():
    assert "# No column seems to be email, by which records are found again" in drafted("First Name")
    assert "No column" not in drafted("Email")


def test_keys_and_links_are_sent_though_they_cannot_be_changed():
    fields = (field("vin", "VIN", updateable=False), field("owner", "Owner Email", updateable=False))
    link = Relationship(field="owner", related="Lead", related_field="email")
    schema = Schema(name="car_c", fields=fields, dedupe_fields=("vin",), relationships=(link,))
    text = drafted("Vin", "Owner e-mail", schema=schema, keys=("vin",))
    assert mapping_of(text) == {"Vin": Column(to="vin"), "Owner e-mail": Column(to="owner")}


names = st.text(max_size=80)


@given(columns=st.lists(names), fields=st.lists(st.tuples(names, names, st.sampled_from(["date", "string"]))))
def test_a_draft_is_always_a_mapping_without_two_columns_of_one_name(columns, fields):
    schema = Schema(name="x", fields=tuple(field(*each) for each in fields), dedupe_fields=())
    found = parse(MappingFile(name="map.toml", text=draft(columns, schema, ("email",))))
    assert set(found.columns) <= set(columns)
    sent = [each.to for each in found.columns.values()]
    assert len(sent) == len(set(sent))
    assert set(sent) <= {name for name, _, _ in fields}
