"""From settings, which people write, to the values that the rooms of this house take."""

from __future__ import annotations

from urllib.parse import urlsplit

from orchestrator import tables
from orchestrator.config import Settings, Subscription
from orchestrator.marketo.options import Options
from orchestrator.schedule.state import Limits


def client_options(settings: Settings, subscription: Subscription) -> Options:
    """Return what a client of a subscription needs to know."""
    http = settings.http
    limits = subscription.limits
    return Options(
        subscription=subscription.name,
        rest_url=subscription.address,
        identity_url=subscription.identity_url,
        client_id=subscription.client_id,
        client_secret=subscription.read_secret,
        timeout_ms=_ms(http.timeout_seconds),
        idle_ms=_ms(http.idle_seconds),
        proxy=http.proxy,
        ca_file=None if http.ca_file is None else str(http.ca_file),
        trust_env=http.trust_env,
        insecure=http.insecure,
        calls_per_window=limits.calls_per_window,
        window_ms=_ms(limits.window_seconds),
        concurrent_calls=limits.concurrent_calls,
    )


def confirmation_of(subscription: Subscription) -> str:
    """Return what has to be typed before a protected subscription is written to.

    That is its munchkin id, with which the host name begins; of another host it is the part before the first dot.
    """
    return subscription.munchkin_id or (urlsplit(subscription.address).hostname or "").partition(".")[0]


def schedule_limits(settings: Settings, limits: tables.Limits) -> Limits:
    """Return what the schedule of a subscription keeps to."""
    return Limits(
        slots=limits.slots,
        importers=limits.importers,
        queue_depth=None if limits.queue_depth == "auto" else limits.queue_depth,
        lookahead_chunks=settings.schedule.lookahead_chunks,
        slow_start=settings.schedule.slow_start,
        poll_min_ms=_ms(settings.polling.interval_seconds_min),
        poll_max_ms=_ms(settings.polling.interval_seconds_max),
        backoff_min_ms=_ms(settings.backoff.seconds_min),
        backoff_max_ms=_ms(settings.backoff.seconds_max),
        calls_per_day=limits.calls_per_day,
        calls_reserved=limits.calls_reserved,
        window_ms=_ms(limits.window_seconds),
        give_up_ms=_ms(settings.backoff.give_up_seconds),
        probe_calls_max=settings.unknown.probe_calls_max,
        settle_ms=_ms(settings.unknown.settle_seconds),
        hold_min_ms=_ms(settings.unknown.hold_seconds_min),
        paused_hold_ms=_ms(settings.claims.paused_hold_seconds),
        http_timeout_ms=_ms(settings.http.timeout_seconds),
        isolate_depth_max=settings.isolate.depth_max,
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
