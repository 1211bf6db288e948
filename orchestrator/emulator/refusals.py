"""Marketo's way of saying no, made from the one table of codes."""

from __future__ import annotations

from orchestrator.errors import Refused
from orchestrator.marketo.codes import CODES


def refusal(code: str, *details: object) -> Refused:
    """Build the refusal with this code; the details fill the gaps of its wording."""
    entry = CODES[code]
    return entry.error(entry.wording % details, code=code)


def invalid_data(message: str) -> Refused:
    """Build a 1003, whose words differ from case to case."""
    return CODES["1003"].error(message, code="1003")
