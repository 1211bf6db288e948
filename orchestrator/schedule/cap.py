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

    def refused(self, body_bytes: int, now_ms: int) -> None:
        """Learn from an upload of this size that Marketo refused for it."""
        cap = max(BODY_BYTES_FLOOR, body_bytes * 95 // 100)
        if cap < self.bytes_max:
            self.bytes_max, self._learned_ms = cap, now_ms

    def age(self, now_ms: int) -> None:
        """Forget what was learned long ago."""
        if self._learned_ms is not None and now_ms - self._learned_ms >= LEARNED_CAP_LIFE_MS:
            self.bytes_max, self._learned_ms = self._configured_bytes, None
