"""Every exception this package raises on purpose.

::

    OrchestratorError
    ├─ ConfigError
    ├─ SourceError            AlreadyGiven · EncodingError · HeaderError · RecordTooLarge · UnterminatedQuote ·
    │                         SourceChanged · NoRoom
    ├─ MarketoError           .subscription .request_id .code
    │  ├─ NotDelivered        certain: safe to send again
    │  ├─ DeliveryUnknown     sent, answer lost: reconcile before sending again
    │  ├─ Refused             RateLimited · ConcurrencyLimited · DailyQuotaExhausted · ImportQueueFull · ListBusy ·
    │  │                      TokenExpired · AccessDenied · InvalidRequest · TooLarge · Unavailable
    │  └─ MalformedResponse   the remote broke its contract
    ├─ JournalError           JobUnknown · JournalCorrupt · Fenced · JournalUnreachable · JournalVersionUnknown ·
    │  │                      SubscriptionBusy
    │  ├─ JournalUnusable     a setting is wrong, or a right is missing; JournalForbidden
    │  └─ JournalStalled      a passing cause; JournalLocked
    └─ FileUnwritten          of the state or output directory; made again when it can be

The branches are drawn by what the caller does next.  A message says what happened, where, and what to do;
it carries neither secrets nor the contents of rows.
"""

from __future__ import annotations

import errno
from typing import Final

# What the operating system says of a file: there is no room now, or no descriptor, or the disk does not do it ...
PASSING: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE))
# ... or this user may not.
DENIED: Final = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))


class OrchestratorError(Exception):
    """The root: everything this package raises on purpose."""


class ConfigError(OrchestratorError):
    """A setting, a flag or a credential is missing or wrong; nothing was sent."""


# --- sources -----------------------------------------------------------------------------------------


class SourceError(OrchestratorError):
    """A source cannot be imported as it is; nothing of it was sent."""

    def __init__(self, message: str, *, next_command: str | None = None) -> None:
        super().__init__(message)
        self.next_command = next_command  # what helps, if a command does


class AlreadyGiven(SourceError):
    """The content, or the key, is that of an earlier job, and no other is made of it."""


class EncodingError(SourceError):
    """The bytes are not the text encoding they should be."""


class HeaderError(SourceError):
    """The header record is missing, or a column of it is wrong."""


class RecordTooLarge(SourceError):
    """One record alone is larger than an upload may be."""


class UnterminatedQuote(SourceError):
    """The file ends inside a quoted cell."""


class SourceChanged(SourceError):
    """The file is no longer the one that was planned."""


class NoRoom(SourceError):
    """A copy of the source has to be made, and there is no room for it now."""


# --- Marketo -----------------------------------------------------------------------------------------


class MarketoError(OrchestratorError):
    """Something went wrong with a call to Marketo."""

    def __init__(
        self,
        message: str,
        *,
        subscription: str | None = None,
        request_id: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.subscription = subscription
        self.request_id = request_id
        self.code = code


class NotDelivered(MarketoError):
    """The request certainly did not reach Marketo whole; it is safe to send it again."""


class DeliveryUnknown(MarketoError):
    """The request was sent whole and its answer is lost; reconcile before sending it again."""


class MalformedResponse(MarketoError):
    """Marketo's answer is not what its contract promises."""


class Refused(MarketoError):
    """Marketo answered, and the answer is no; nothing was done."""


class RateLimited(Refused):
    """606: too many calls in the past 20 seconds."""


class ConcurrencyLimited(Refused):
    """615: too many calls in progress."""


class DailyQuotaExhausted(Refused):
    """607: the subscription's calls of this day are used up."""


class ImportQueueFull(Refused):
    """1016: the import queue holds as many jobs as it may."""


class ListBusy(Refused):
    """1019: another import into the same static list is under way."""


class TokenExpired(Refused):
    """600, 601, 602: the access token is missing, invalid or expired."""


class AccessDenied(Refused):
    """603, or identity said no: credentials, role or address are not allowed to do this."""


class InvalidRequest(Refused):
    """The request itself is wrong, and will be wrong again."""


class TooLarge(Refused):
    """413: the upload is larger than Marketo takes."""


class Unavailable(Refused):
    """A passing fault of Marketo (608, 611, 713, 5xx ...) on a call that may simply be repeated."""


# --- journal -----------------------------------------------------------------------------------------


class JournalError(OrchestratorError):
    """The journal cannot do what was asked."""


class JobUnknown(JournalError):
    """The journal has no job of this id, or several whose ids begin so."""


class JournalCorrupt(JournalError):
    """The journal's file is damaged."""


class JournalStalled(JournalError):
    """The journal cannot be read or written now: its disk is full, or somebody keeps it locked."""


class JournalLocked(JournalStalled):
    """Another process keeps the journal locked, in the middle of a write."""


class JournalUnusable(JournalError):
    """There can be no journal where it is said to be: the place does not exist, or something else is there."""


class JournalForbidden(JournalUnusable):
    """The journal may not be read or written: access is denied, or its disk may only be read."""


class JournalUnreachable(JournalError):
    """The database that holds the journal cannot be reached now; what was being written may or may not be there."""


class JournalVersionUnknown(JournalError):
    """The journal was written by a newer version of this program."""


class Fenced(JournalError):
    """Another process has taken the subscription over; this one must stop."""


class SubscriptionBusy(JournalError):
    """Another process is driving the subscription."""


# --- files -------------------------------------------------------------------------------------------


class FileUnwritten(OrchestratorError):
    """A result file or a report cannot be written now; nothing is lost, and it can be made again."""


# --- groups ------------------------------------------------------------------------------------------


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group that is not another group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
