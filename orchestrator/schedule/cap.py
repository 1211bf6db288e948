"""How large an upload may be: as configured, or smaller if Marketo refused that, for a day."""

from __future__ import annotations

BODY_BYTES_FLOOR = 1_000_000  # a learned limit never falls below this
LEARNED_CAP_LIFE_MS = 24 * 3_600_000  # then the configured limit is tried again


class UploadCap:
    """The limit on one upload's whole body, in bytes."""

    def __init__(self, configured_bytes: int) -> None:
        self._configured_bytes = configured_bytes
        self.bytes_max = configured_bytes
        self._learned_ms: int | None = None

    def lowered(self, body_bytes: int) -> int | None:
        """Return the limit that follows from an upload of this size that Marketo refused for it; None if it stays."""
        cap = max(BODY_BYTES_FLOOR, body_bytes * 95 // 100)
        return cap if cap < self.bytes_max else None

    def refused(self, body_bytes: int, now_ms: int) -> None:
        """Learn from an upload of this size that Marketo refused for it."""
        self.recall(self.lowered(body_bytes), now_ms)

    def recall(self, bytes_max: int | None, learned_ms: int) -> None:
        """Take over a limit that was learned at this time, unless one as low is known."""
        if bytes_max is not None and max(BODY_BYTES_FLOOR, bytes_max) < self.bytes_max:
            self.bytes_max, self._learned_ms = max(BODY_BYTES_FLOOR, bytes_max), learned_ms

    def age(self, now_ms: int) -> None:
        """Forget what was learned long ago; what seems to be learned later than now is, for the clock went back."""
        if self._learned_ms is None:
            return
        self._learned_ms = min(self._learned_ms, now_ms)
        if now_ms - self._learned_ms >= LEARNED_CAP_LIFE_MS:
            self.bytes_max, self._learned_ms = self._configured_bytes, None
