"""What an import would be, found out without sending anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

from orchestrator import preflight
from orchestrator.clock import Clock
from orchestrator.config import Settings
from orchestrator.connection import Connection
from orchestrator.forecast import Conflicts, Forecast, count_conflicts, forecast
from orchestrator.intake import Intake, Prepared
from orchestrator.journal.journal import Journal
from orchestrator.ledger import refuses
from orchestrator.model import IfKnown, Job, RepeatedKeys, Source
from orchestrator.offload import Offload
from orchestrator.outcome import copies_directory
from orchestrator.prospect import assumed_speed, earlier_speed
from orchestrator.requests import ImportRequest
from orchestrator.scratch import scratch
from orchestrator.source.inventory import Inventory, take
from orchestrator.source.spool import Workspace
from orchestrator.wiring import schedule_limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What pre-flight found of sources that can be imported as they are."""

    sources: tuple[Source, ...]
    rows: int
    key_columns: tuple[str, ...]
    compared: bool  # whether the headers were compared with what Marketo says of the target
    inventory: Inventory
    warnings: tuple[str, ...]


class Preview:
    """Looks at requests in the name of one subscription; copies of sources are gone when it has looked."""

    def __init__(
        self,
        *,
        settings: Settings,
        journal: Journal,
        offload: Offload,
        clock: Clock,
        rng: Random,
        connection: Connection,
        intake: Intake,
        state_dir: Path,
    ) -> None:
        """Hold what is needed; ``connection`` is used only if Marketo may be asked."""
        self._settings = settings
        self._journal = journal
        self._offload = offload
        self._clock = clock
        self._rng = rng
        self._connection = connection
        self._intake = intake
        self._state_dir = state_dir

    async def plan(self, request: ImportRequest, *, offline: bool) -> Forecast:
        """Say what an import would take; raises what `Orchestrator.plan` raises."""
        started_ms = self._clock.now_ms()
        located = await self._offload.run(preflight.locate, request.sources, allow_empty=request.allow_empty)
        host = None if offline else (await self._connection.destination()).host
        await self._intake.predecessor(request.after, host)
        limits = schedule_limits(self._settings, self._connection.limits())
        conflicts = Conflicts(chunks=0, examined=0)
        with scratch(self._state_dir, rng=self._rng, now_ms=started_ms) as directory:
            workspace = Workspace(copies_directory(directory))
            prepared = await self._intake.prepare(
                located, request.target, request.options(), workspace=workspace, offline=offline
            )
            if request.on_repeated_key is not RepeatedKeys.IGNORE:
                conflicts = await count_conflicts(
                    prepared.plans,
                    key_columns=prepared.known.key_columns,
                    lookahead_chunks=limits.lookahead_chunks,
                    offload=self._offload,
                )
            inventory = await self._take_inventory(prepared, workspace)
        rows = sum(plan.source.rows for plan in prepared.plans)
        earlier, speed, if_known = None, None, request.options().if_known
        if host is not None:
            speed = await earlier_speed(self._journal, host, request.target, rows)
            if if_known is not IfKnown.AGAIN:
                earlier = await self._intake.given(host, request.target, prepared)
        return forecast(
            prepared.plans,
            conflicts=conflicts,
            speed=assumed_speed(min(limits.importers, max(1, len(prepared.spans)))) if speed is None else speed,
            depth=limits.usual_depth,
            depth_max=limits.greatest_depth,
            calls_per_day=self._connection.limits().calls_per_day,
            planning_ms=prepared.planning_ms,
            inventory=inventory,
            refused_for=earlier.id if earlier is not None and refuses(earlier, if_known) else None,
            notes=(
                *([] if earlier is None else [_given_before(earlier, if_known)]),
                *prepared.known.skipped,
                *(note.message for note in prepared.notes),
            ),
        )

    async def check(self, request: ImportRequest, *, offline: bool) -> Checked:
        """Make the checks of an import and nothing else; raises what `Orchestrator.check` raises."""
        await self._intake.predecessor(request.after, None)
        located = await self._offload.run(preflight.locate, request.sources, allow_empty=request.allow_empty)
        with scratch(self._state_dir, rng=self._rng, now_ms=self._clock.now_ms()) as directory:
            workspace = Workspace(copies_directory(directory))
            prepared = await self._intake.prepare(
                located, request.target, request.options(), workspace=workspace, offline=offline
            )
            inventory = await self._take_inventory(prepared, workspace)
        plans, known = prepared.plans, prepared.known
        return Checked(
            sources=tuple(plan.source for plan in plans),
            rows=sum(plan.source.rows for plan in plans),
            key_columns=known.key_columns,
            compared=known.schema is not None,
            inventory=inventory,
            warnings=(
                *known.skipped,
                *(note.message for note in prepared.notes),
                *(warning for plan in plans for warning in plan.warnings),
                *inventory.warnings,
            ),
        )

    async def _take_inventory(self, prepared: Prepared, workspace: Workspace) -> Inventory:
        try:
            return await self._offload.run(take, [plan.source for plan in prepared.plans], workspace.check)
        except BaseException:  # cancelled: the thread goes on until it is told
            workspace.stop()
            raise

    async def draft(self, request: ImportRequest) -> str:
        """Draft a mapping; raises what `Orchestrator.draft_mapping` raises."""
        located = await self._offload.run(preflight.locate, request.sources, allow_empty=request.allow_empty)
        with scratch(self._state_dir, rng=self._rng, now_ms=self._clock.now_ms()) as directory:
            workspace = Workspace(copies_directory(directory))
            return await self._intake.draft(located, request.target, request.options(), workspace=workspace)


def _given_before(earlier: Job, if_known: IfKnown) -> str:
    """Say what an import does with content that was given before."""
    if refuses(earlier, if_known):
        does = "import refuses it unless --force is given"
    else:
        does = "import makes no other job of it" + (", but goes on with that one" if if_known is IfKnown.RESUME else "")
    return f"given before, as job {earlier.id} ({earlier.state}); {does}"
