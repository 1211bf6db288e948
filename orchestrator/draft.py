"""Drafts of mappings: what the columns of files are probably called in Marketo, written for a person to look over.

A column is matched by the API name of a field, else by the name that Marketo's screens show, without regard to case,
spaces and punctuation.  Whatever is not certain stands in the draft as a comment, so the draft is a mapping that can
be used as it is, and does nothing that nobody decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.mapping import toml_key, toml_string
from orchestrator.marketo.reads import Field, Schema
from orchestrator.source.check import similar

HINTS = {  # by the type of the field: a conversion that a file may need
    "date": '# date = "%d.%m.%Y"  # if the file does not write 2026-01-31',
    "datetime": '# date = "%d.%m.%Y %H:%M"  # if the file does not write 2026-01-31T12:30:00+01:00; with a timezone = "..."',
    "boolean": '# boolean = { true = ["ja"], false = ["nein"] }  # if the file does not write true and false',
    "float": '# number = "de"  # if the file does not write 1234.5',
    "currency": '# number = "de"  # if the file does not write 1234.5',
    "integer": '# number = "de"  # if the file does not write 1234',
    "score": '# number = "de"  # if the file does not write 1234',
    "percent": '# number = "de"  # if the file does not write 12',
}


def draft(columns: Sequence[str], schema: Schema, key_columns: Sequence[str]) -> str:
    """Return a mapping of columns to the fields of a target, in TOML."""
    return "\n".join(_lines(columns, schema, key_columns)) + "\n"


def _lines(columns: Sequence[str], schema: Schema, key_columns: Sequence[str]) -> Iterator[str]:
    matched = _matched(columns, schema)
    fields = {field.name: field for field in schema.fields}
    links = [each.field for each in schema.relationships]
    writable = {field.name for field in schema.fields if field.updateable} | {*key_columns, *links}
    yield "# What is done to columns before they are sent. Look it over, and then import the files with --map."
    yield ""
    yield "# trim = true  # removes blanks at both ends of all cells"
    as_they_stand = [name for name, field in matched.items() if field == name and field in writable]
    if as_they_stand:
        yield ""
        yield f"# Fields as they stand: {_comment(', '.join(as_they_stand))}"
    for name in dict.fromkeys(columns):
        if name not in as_they_stand:
            yield ""
            yield from _column(
                name, fields[matched[name]] if name in matched else None, schema, writable, set(matched.values())
            )
    for key in key_columns:
        if key not in matched.values():
            yield ""
            yield f"# No column seems to be {_comment(key)}, by which records are found again; one has to be."


def _column(name: str, field: Field | None, schema: Schema, writable: set[str], taken: set[str]) -> Iterator[str]:
    if field is None:
        yield from _unmatched(name, schema, taken)
    elif field.name not in writable:
        yield f"# {_comment(_described(field))}; it cannot be written."
        yield f"# [columns.{toml_key(name)}]"
        yield "# drop = true"
    else:
        yield f"[columns.{toml_key(name)}]  # {_comment(_described(field))}"
        yield f"to = {toml_string(field.name)}"
        if field.data_type in HINTS:
            yield HINTS[field.data_type]


def _matched(columns: Sequence[str], schema: Schema) -> dict[str, str]:
    """Return the field of each column that has one; no field twice."""
    fields = [field for field in schema.fields if field.name.strip()]
    by_name = {field.name: field.name for field in fields}
    folded = _unique((_fold(field.name), field.name) for field in fields)
    displayed = _unique((_fold(field.display_name), field.name) for field in fields)
    found: dict[str, str] = {}
    for names, key in ((by_name, str), (folded, _fold), (displayed, _fold)):
        for column in dict.fromkeys(columns):
            field = names.get(key(column))
            if field is not None and column not in found and field not in found.values():
                found[column] = field
    return {column: found[column] for column in columns if column in found}


def _unique(pairs: Iterator[tuple[str, str]]) -> dict[str, str]:
    """Return the fields by names that only one field has."""
    fields: dict[str, list[str]] = {}
    for name, field in pairs:
        fields.setdefault(name, []).append(field)
    return {name: found[0] for name, found in fields.items() if len(found) == 1 and name}


def _fold(name: str) -> str:
    return "".join(char for char in name.casefold() if char.isalnum())


def _unmatched(name: str, schema: Schema, taken: set[str]) -> Iterator[str]:
    yield "# No field has this name. Say which one is meant, or drop the column; as it is, the import is refused."
    yield f"# [columns.{toml_key(name)}]"
    displayed = {field.display_name: field.name for field in schema.fields}
    meant = similar(name, [field.name for field in schema.fields]) or displayed.get(similar(name, displayed) or "")
    if meant is not None:
        used = "  # which another column is taken for" if meant in taken else "  # the most similar one"
        yield f"# to = {toml_string(meant)}{used}"
    yield "# drop = true"


def _described(field: Field) -> str:
    length = f", up to {field.length} characters" if field.length else ""
    return f"{field.display_name}: {field.data_type}{length}"


def _comment(text: str) -> str:
    """Return a text that cannot end the comment it stands in."""
    return "".join(char if char.isprintable() else "?" for char in text)
