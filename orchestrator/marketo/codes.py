"""What each of Marketo's codes means, and what is done about it: one table, which everything that acts reads.

A code stands in the body of an answer, almost always beside HTTP 200; some answers have no body that can be read, and
their HTTP status takes its place.  Both are rows here.  `Action` says what is done when an upload is answered so.  Any
other call changes nothing at Marketo, so after whatever passes, and whatever leaves the outcome open, it is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from orchestrator.errors import (
    AccessDenied,
    ConcurrencyLimited,
    DailyQuotaExhausted,
    ImportQueueFull,
    InvalidRequest,
    ListBusy,
    RateLimited,
    Refused,
    TokenExpired,
    TooLarge,
    Unavailable,
)


class Action(StrEnum):
    """What is done about an upload that is answered with a code; the text is the reference's."""

    RENEW = "another token is asked for, and the call made again"
    WAIT = "the upload is sent again after a growing wait"
    WAIT_FOR_WINDOW = "no call is made for a window of calls and a growing wait, then it is sent again"
    WAIT_FOR_CALLS = "fewer calls are made at a time for a while, and it is sent again after a growing wait"
    WAIT_FOR_DAY = "no call is made before Marketo's next day of calls, then it is sent again"
    WAIT_FOR_QUEUE = "it is sent again when a batch has ended, or after a growing wait"
    WAIT_FOR_LIST = "it is sent again when a batch has ended, or after a growing wait; other jobs go on"
    SPLIT = "the upload is cut smaller; the row of a single record that is too large has failed"
    RETRY_ONCE = "the upload is built anew and sent once more; if that is refused too, the job stops"
    STOP_SOURCE = "nothing more of this source is sent, other sources go on; the command ends with 9"
    STOP_JOB = "nothing more of the job is sent; the command ends with 9"
    DENY_TARGET = "nothing more is sent of jobs that become the same kind of record; the command ends with 6"
    DENY = "nothing more is sent; the command ends with 6"
    DOUBT = "nobody knows whether it became a batch: the chunk is `unknown`, and its batch is looked for"


# What a caller catches says what comes next, so it follows from the action.
_ERRORS: Mapping[Action, type[Refused]] = MappingProxyType(
    {
        Action.RENEW: TokenExpired,
        Action.WAIT: Unavailable,
        Action.WAIT_FOR_WINDOW: RateLimited,
        Action.WAIT_FOR_CALLS: ConcurrencyLimited,
        Action.WAIT_FOR_DAY: DailyQuotaExhausted,
        Action.WAIT_FOR_QUEUE: ImportQueueFull,
        Action.WAIT_FOR_LIST: ListBusy,
        Action.SPLIT: TooLarge,
        Action.RETRY_ONCE: InvalidRequest,
        Action.STOP_SOURCE: InvalidRequest,
        Action.STOP_JOB: InvalidRequest,
        Action.DENY_TARGET: AccessDenied,
        Action.DENY: AccessDenied,
        Action.DOUBT: Unavailable,
    }
)

# Faults of the connection, by their codes, that waiting does not cure; the others may pass.
PERMANENT_FAULTS = ("unknown_host", "tls", "proxy")


@dataclass(frozen=True, slots=True)
class Code:
    """What one code means to a caller."""

    action: Action
    wording: str  # as Marketo words it, with ``%s`` for what varies
    advice: str  # what comes next, for people
    gone: bool = False  # about a batch: Marketo does not know it, or no longer
    foreign: bool = False  # Marketo does not answer so; who does may have let an upload that was sent whole through

    @property
    def error(self) -> type[Refused]:
        """What is raised."""
        return _ERRORS[self.action]

    @property
    def settled(self) -> bool:
        """Tell whether Marketo certainly made nothing of an upload that was sent whole."""
        return self.action is not Action.DOUBT and not self.foreign


_REPEATED = "It is tried again by itself."
_RENEWED = "A new token is asked for."
_PROGRAM = "This is a fault of this program or its settings; repeating it cannot help."
_DATA = "Correct what it names and start again; repeating it cannot help."
_ONCE_MORE = "It is built anew and sent once more; if that does not help, nothing will."
_SEE_ADDRESS = "Check the munchkin id or the address in the settings."

# In the body of an answer.
CODES: Mapping[str, Code] = MappingProxyType(
    {
        "500": Code(Action.DOUBT, "Internal error", _REPEATED),
        "502": Code(Action.DOUBT, "Bad Gateway", _REPEATED),
        "503": Code(Action.DOUBT, "Service Unavailable", _REPEATED),
        "504": Code(Action.DOUBT, "Gateway Timeout", _REPEATED),
        "600": Code(Action.RENEW, "Access token not specified", _RENEWED),
        "601": Code(Action.RENEW, "Access token invalid", _RENEWED),
        "602": Code(Action.RENEW, "Access token expired", _RENEWED),
        "603": Code(
            Action.DENY_TARGET,
            "Access denied",
            "In Marketo's Admin, look at the API role of this user (Users & Roles) and at the allowed addresses "
            "(IP Restrictions for API).",
        ),
        "604": Code(Action.DOUBT, "Request time-out", _REPEATED),
        "605": Code(Action.STOP_JOB, "HTTP Method not supported", _PROGRAM),
        "606": Code(Action.WAIT_FOR_WINDOW, "Max rate limit '%s' exceeded with in '%s' secs", _REPEATED),
        "607": Code(Action.WAIT_FOR_DAY, "Daily quota reached", "Marketo's day ends at midnight Central Time."),
        "608": Code(Action.DOUBT, "API Temporarily Unavailable", _REPEATED),
        "609": Code(Action.STOP_JOB, "Invalid JSON", _PROGRAM),
        "610": Code(Action.STOP_JOB, "Requested resource not found", "Check the address and the target.", gone=True),
        "611": Code(Action.DOUBT, "System error", _REPEATED),
        "612": Code(Action.STOP_JOB, "Invalid Content Type", _PROGRAM),
        "613": Code(Action.RETRY_ONCE, "Invalid Multipart Request", _ONCE_MORE),
        "614": Code(Action.WAIT, "Invalid Subscription", "Usually it passes; else check the munchkin id."),
        "615": Code(Action.WAIT_FOR_CALLS, "Concurrent access limit '%s' reached", _REPEATED),
        "616": Code(Action.STOP_JOB, "Invalid subscription type", "This subscription lacks the feature."),
        "701": Code(Action.STOP_SOURCE, "%s cannot be blank", _DATA),
        "702": Code(Action.STOP_JOB, "No data found for a given search scenario", "Check ids and names.", gone=True),
        "703": Code(Action.STOP_JOB, "Feature is not enabled for the subscription", "Ask Marketo to enable it."),
        "704": Code(Action.STOP_JOB, "Invalid date format", _DATA),
        "709": Code(Action.STOP_JOB, "Business rule violation", _DATA),
        "713": Code(Action.DOUBT, "Transient Error", _REPEATED),
        "719": Code(Action.DOUBT, "Lock wait timeout exception", _REPEATED),
        "1001": Code(Action.STOP_JOB, "Invalid value '%s'. Required of type '%s'", _DATA),
        "1002": Code(Action.STOP_JOB, "Missing value for the required parameter '%s'", _DATA),
        "1003": Code(Action.RETRY_ONCE, "Invalid data", _ONCE_MORE),
        "1004": Code(Action.STOP_JOB, "Lead not found", _DATA),
        "1006": Code(Action.STOP_SOURCE, "Field '%s' not found", "Correct the header: it wants REST API names."),
        "1007": Code(Action.STOP_JOB, "Multiple leads match the lookup criteria", _DATA),
        "1008": Code(Action.STOP_JOB, "Access denied to partition '%s'", "Give this API user the partition."),
        "1009": Code(Action.STOP_JOB, "Partition name must be specified", "Name a partition."),
        "1010": Code(Action.STOP_JOB, "Partition update not allowed", _DATA),
        "1011": Code(Action.STOP_SOURCE, "Field '%s' not supported", "Choose another lookup field."),
        "1013": Code(
            Action.STOP_JOB, "Object not found", "Check the id of the list, program, object or batch.", gone=True
        ),
        "1014": Code(Action.WAIT, "Failed to create Object", _REPEATED),
        "1016": Code(
            Action.WAIT_FOR_QUEUE,
            "There are %s imports currently being processed. Please try again later",
            "It is tried again when the queue has room.",
        ),
        "1018": Code(Action.STOP_JOB, "CRM Enabled", "Import into the CRM that manages this object instead."),
        "1019": Code(
            Action.WAIT_FOR_LIST, "Import in progress", "It is tried again when the list's other import has ended."
        ),
        "1021": Code(Action.STOP_JOB, "Company update not allowed", _DATA),
        "1022": Code(Action.WAIT, "Object in use", _REPEATED),
        "1025": Code(Action.STOP_JOB, "Program status not found", "Use a status of the program's channel."),
        "1026": Code(Action.STOP_JOB, "Custom object not enabled", "Enable it in Marketo's Admin."),
        "1029": Code(Action.WAIT, "Too many jobs in queue", _REPEATED),
        "1036": Code(Action.STOP_JOB, "Duplicate object found in input", _DATA),
        "1037": Code(Action.STOP_JOB, "Lead skipped because it is already in or past this status", _DATA),
    }
)

# HTTP statuses of answers without such a body; of 413 and 5xx whatever the body says.
STATUSES: Mapping[str, Code] = MappingProxyType(
    {
        "401": Code(Action.RENEW, "Unauthorized", _RENEWED),
        "403": Code(Action.DENY, "Forbidden", "A gateway refuses this machine: ask who runs the network."),
        "404": Code(Action.STOP_JOB, "Not Found", _SEE_ADDRESS, gone=True),
        "405": Code(Action.STOP_JOB, "Method Not Allowed", _SEE_ADDRESS),
        "407": Code(Action.DENY, "Proxy Authentication Required", "Put user and password into http.proxy."),
        "411": Code(Action.STOP_JOB, "Length Required", _SEE_ADDRESS),
        "413": Code(Action.SPLIT, "Request Entity Too Large", "The upload has to be cut into smaller ones."),
        "414": Code(Action.STOP_JOB, "URI Too Long", "Shorten the names in the target."),
        "415": Code(Action.STOP_JOB, "Unsupported Media Type", _SEE_ADDRESS),
        "429": Code(Action.WAIT_FOR_WINDOW, "Too Many Requests", _REPEATED, foreign=True),
        "3xx": Code(Action.STOP_JOB, "a redirect", _SEE_ADDRESS, foreign=True),
        "5xx": Code(Action.DOUBT, "a fault of the gateway or of Marketo", _REPEATED),
    }
)

# Codes that Marketo's documentation does not have, and answers that make no sense.
UNDOCUMENTED = Code(Action.DOUBT, "no reason given", "This code is not documented; the call is tried again.")


def of_status(status: int) -> Code | None:
    """Return what an HTTP status says by itself, None if nothing; redirects are judged where they are met."""
    return STATUSES["5xx"] if 500 <= status <= 599 else STATUSES.get(str(status))


def of_error(error: Refused) -> Code | None:
    """Return the row by which a call was refused, None if by none of the table."""
    code = error.code or ""
    return CODES.get(code) or STATUSES.get(code)


def is_gone(error: Refused) -> bool:
    """Tell whether a refused call means that Marketo does not know, or no longer, what it is about."""
    code = of_error(error)
    return code is not None and code.gone


def of_one_target(error: AccessDenied) -> bool:
    """Tell whether what was denied may be allowed for another target: rights are given per kind of record."""
    code = of_error(error)
    return code is not None and code.action is Action.DENY_TARGET


def stop_of(error: InvalidRequest) -> Action:
    """Return what is done about an upload that is wrong as it is: one of the two stops, or one more try."""
    code = of_error(error)
    return code.action if code is not None and code.error is InvalidRequest else Action.STOP_JOB
