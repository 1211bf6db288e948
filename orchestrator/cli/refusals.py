"""Wrong values of flags and arguments, told in words of this program's own.

Typer checks values with pydantic and shows its words, which are those of programmers (``Value error,``,
``Input should be``).  What is wrong stands in the error that it was raised from.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

VALUE_CHARS_MAX = 50  # shown of what was given

_WRONG = {
    "int_parsing": "is not a whole number",
    "int_parsing_size": "is too large",
    "float_parsing": "is not a number",
    "finite_number": "is not a number",
    "greater_than_equal": "is less than {ge:g}",
    "less_than_equal": "is more than {le:g}",
}


class Commands(TyperGroup):
    """The commands; a wrong value is told so that it says what is allowed."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was given, as `TyperGroup` does."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = _words(error.__cause__) or error.message
            raise


def _words(cause: BaseException | None) -> str | None:
    """Return what is wrong with a value; None if pydantic did not say so, or in a way that is not known here."""
    find: Any = getattr(cause, "errors", None)
    if find is None:
        return None
    first = find(include_url=False)[0]
    context = first.get("ctx", {})
    if first["type"] == "value_error":  # a choice: Python's own error says of which
        return str(context["error"]).rstrip(".")
    template = _WRONG.get(first["type"])
    return None if template is None else f"{str(first['input'])[:VALUE_CHARS_MAX]!r} {template.format(**context)}"
