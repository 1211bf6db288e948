"""What goes over the wire to Marketo, as pure data: addresses, parameters, framing and values.

Reading Marketo's answers is next door, in ``answers``, and what its codes mean in ``codes``; both sides of the wire,
the client and the emulator, take paths and codes from these alone.  Path templates carry ``{api_name}``, ``{batch_id}`` and ``{program_id}``, so that
one string serves ``str.format`` on this side and a router on the other.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never
from urllib.parse import quote, urlencode, urlsplit

from orchestrator.errors import ConfigError
from orchestrator.model import BatchId, BatchStatus, CustomObjects, Format, Leads, ProgramMembers, Target

# --- paths -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """The path templates of one kind of target."""

    create: str
    status: str
    failures: str
    warnings: str
    describe: str


LEADS = Paths(
    create="/bulk/v1/leads.json",
    status="/bulk/v1/leads/batch/{batch_id}.json",
    failures="/bulk/v1/leads/batch/{batch_id}/failures.json",
    warnings="/bulk/v1/leads/batch/{batch_id}/warnings.json",
    describe="/rest/v1/leads/describe2.json",
)
CUSTOM_OBJECTS = Paths(
    create="/bulk/v1/customobjects/{api_name}/import.json",
    status="/bulk/v1/customobjects/{api_name}/import/{batch_id}/status.json",
    failures="/bulk/v1/customobjects/{api_name}/import/{batch_id}/failures.json",
    warnings="/bulk/v1/customobjects/{api_name}/import/{batch_id}/warnings.json",
    describe="/rest/v1/customobjects/{api_name}/describe.json",
)
PROGRAM_MEMBERS = Paths(
    create="/bulk/v1/program/{program_id}/members/import.json",
    status="/bulk/v1/program/members/import/{batch_id}/status.json",  # without the program, unlike `create`
    failures="/bulk/v1/program/members/import/{batch_id}/failures.json",
    warnings="/bulk/v1/program/members/import/{batch_id}/warnings.json",
    describe="/rest/v1/programs/members/describe.json",
)
TOKEN_PATH = "/identity/oauth/token"  # noqa: S105 - an address, no secret

MEMBER_KEY = "email"  # by which imports of program members find people, whatever describe says
FILE_PART = "file"  # the name of the multipart part that holds the rows
EMULATOR_HEADER = "X-Marketo-Emulator"  # "1" on identity answers of this project's emulator, never of Marketo's
SECRET_CHARS_MIN = 8  # shorter secrets are no secrets, and would be cut out of ordinary words


class ResultKind(StrEnum):
    """The two files Marketo keeps of a finished batch."""

    FAILURES = "failures"
    WARNINGS = "warnings"


def paths_of(target: Target) -> Paths:
    """Return the path templates of a target."""
    match target:
        case Leads():
            return LEADS
        case CustomObjects():
            return CUSTOM_OBJECTS
        case ProgramMembers():
            return PROGRAM_MEMBERS
        case _:
            assert_never(target)


def _fill(template: str, target: Target, batch_id: BatchId | None = None) -> str:
    """Put a target's and a batch's own words into a path template."""
    api_name = quote(target.api_name, safe="") if isinstance(target, CustomObjects) else ""
    program_id = target.program_id if isinstance(target, ProgramMembers) else ""
    return template.format(api_name=api_name, program_id=program_id, batch_id=batch_id)


def create_path(target: Target) -> str:
    """Return the path an upload is posted to."""
    return _fill(paths_of(target).create, target)


def status_path(target: Target, batch_id: BatchId) -> str:
    """Return the path of a batch's status."""
    return _fill(paths_of(target).status, target, batch_id)


def result_path(kind: ResultKind, target: Target, batch_id: BatchId) -> str:
    """Return the path of a batch's failure or warning file."""
    paths = paths_of(target)
    return _fill(paths.failures if kind is ResultKind.FAILURES else paths.warnings, target, batch_id)


def describe_path(target: Target) -> str:
    """Return the path of a target's own fields; members of programs take lead fields besides."""
    return _fill(paths_of(target).describe, target)


def create_params(target: Target, format: Format) -> dict[str, str]:
    """Return an upload's parameters, which travel in the query string."""
    params = {"format": format.value}
    match target:
        case Leads():
            params["lookupField"] = target.lookup_field
            if target.list_id is not None:
                params["listId"] = str(target.list_id)
            if target.partition is not None:
                params["partitionName"] = target.partition
        case CustomObjects():
            pass
        case ProgramMembers():
            params["programMemberStatus"] = target.member_status
        case _:
            assert_never(target)
    return params


def query_string(params: Mapping[str, str]) -> str:
    """Encode parameters, a space as ``%20``, which every server reads alike."""
    return urlencode(params, quote_via=quote)


# --- addresses ---------------------------------------------------------------------------------------

_MUNCHKIN_ID = re.compile(r"[0-9]{3}-[A-Za-z0-9]{3}-[0-9]{3}")
_DEFAULT_PORTS = {"https": 443, "http": 80}
_WHAT_AN_ADDRESS_IS = "give a munchkin id such as 123-ABC-456, or https://123-ABC-456.mktorest.com"


def normalise_rest_url(text: str) -> str:
    """Turn what people paste into the base address of a subscription, without a slash at its end.

    A munchkin id, a bare host, and the endpoint as Marketo's Admin shows it, with ``/rest``, all become one.
    Anything else is a `ConfigError` that does not repeat passwords or queries.
    """
    text = text.strip()
    if _MUNCHKIN_ID.fullmatch(text):
        text = f"{text}.mktorest.com"
    if "://" not in text:
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"The Marketo address is not a URL ({error}): {_WHAT_AN_ADDRESS_IS}.") from None
    if parts.scheme not in _DEFAULT_PORTS or not host or re.search(r"[\s%]|\.\.", host):
        raise ConfigError(f"The Marketo address is not an http(s) URL with a host: {_WHAT_AN_ADDRESS_IS}.")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ConfigError(f"The Marketo address may not hold a user, a query or a fragment: {_WHAT_AN_ADDRESS_IS}.")
    path = re.sub(r"/{2,}", "/", parts.path).rstrip("/").removesuffix("/rest").rstrip("/")
    host = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
        host = f"{host}:{port}"
    return f"{parts.scheme}://{host}{path}"


def token_url(rest_url: str, identity_url: str | None = None) -> str:
    """Return where tokens are asked for; ``identity_url`` may stop at the host, at ``/identity`` or at the token."""
    base = normalise_rest_url(identity_url or rest_url)
    return base.removesuffix(TOKEN_PATH).removesuffix("/identity") + TOKEN_PATH


def host_of(rest_url: str) -> str:
    """Return the host that is a subscription's identity, such as ``123-abc-456.mktorest.com``."""
    return normalise_rest_url(rest_url).split("://", 1)[1]


def require_private(url: str, *, insecure: bool) -> None:
    """Refuse to send credentials over plain http, unless they stay on this machine or the user insists."""
    parts = urlsplit(url)
    if parts.scheme == "https" or insecure or is_loopback(parts.hostname or ""):
        return
    raise ConfigError(
        f"{parts.scheme}://{parts.netloc} is not encrypted: use https, or set http.insecure = true "
        "if the network between here and there is your own."
    )


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine by its name alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# --- framing of an upload ----------------------------------------------------------------------------

FILENAME_CHARS_MAX = 100  # longer ones say nothing more to anybody
MULTIPART_OVERHEAD_BYTES = 512  # an upper bound of `prefix` and `suffix` together, for planning


@dataclass(frozen=True, slots=True)
class Multipart:
    """The bytes around the one file of a multipart body.

    The boundary must not occur in the file: the caller draws it at random.
    """

    boundary: str
    filename: str
    prefix: bytes = field(init=False, repr=False)
    suffix: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Build the frame from a boundary that can be trusted and a file name that need not be."""
        if not re.fullmatch(r"[0-9A-Za-z]{16,70}", self.boundary):
            raise ValueError("a boundary is 16 to 70 letters and digits")  # RFC 2046 allows no more than 70
        name = re.sub(r"[^0-9A-Za-z._-]", "_", self.filename)[-FILENAME_CHARS_MAX:] or "rows"
        head = (
            f"--{self.boundary}\r\n"
            f'Content-Disposition: form-data; name="{FILE_PART}"; filename="{name}"\r\n'
            "Content-Type: text/csv\r\n\r\n"
        )
        object.__setattr__(self, "prefix", head.encode("ascii"))
        object.__setattr__(self, "suffix", f"\r\n--{self.boundary}--\r\n".encode("ascii"))

    @property
    def content_type(self) -> str:
        """The value of the request's ``Content-Type``."""
        return f"multipart/form-data; boundary={self.boundary}"


# --- values ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A batch that exists; its status may already be `FAILED`."""

    batch_id: BatchId
    status: BatchStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """What Marketo says of a batch."""

    batch_id: BatchId
    status: BatchStatus | None  # None: nothing that is understood yet; ask again
    processed: int = 0  # rows imported, those with a warning included
    failed: int = 0
    warned: int = 0
    message: str = ""


# --- secrets -----------------------------------------------------------------------------------------


def bearer(token: str, content_type: str | None = None) -> dict[str, str]:
    """Return the headers of a call with a token."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    return headers if content_type is None else {**headers, "Content-Type": content_type}


def without(body: bytes, secret: str) -> bytes:
    """Return an answer without a secret that it echoes."""
    return body.replace(secret.encode(), b"***") if len(secret) >= SECRET_CHARS_MIN else body
