"""Planning sources whose records are not all sent as they stand: those with a mapping, and repeated keys left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.mapping import Mapping
from orchestrator.model import RepeatedKeys
from orchestrator.source import mapped
from orchestrator.source.opened import Located, Reading, plan_all
from orchestrator.source.repeated import look_for_repeated, refuse_repeated, without_repeated
from orchestrator.source.split import Plan
from orchestrator.source.spool import LISTING_FILE, Copy


def plan_sources(
    located: Sequence[Located], mapping: Mapping | None, reading: Reading
) -> tuple[tuple[Plan, ...], tuple[str, ...]]:
    """Plan what is sent of sources; return it, and what a mapping did to how many cells.

    Raises:
        ConfigError: the mapping does not fit the sources.
        SourceError: a source cannot be imported as it is.
        Stopped: nobody waits for it any longer.

    """
    if mapping is None:
        return plan_all(located, reading), ()
    if mapped.renames_only(mapping):
        spared = reading.part_bytes_max - mapped.growth_bytes_max(mapping)
        plans = plan_all(located, replace(reading, part_bytes_max=spared))
        mapped.check_columns(mapping, [plan.source for plan in plans])
        return tuple(mapped.rename(plan, mapping) for plan in plans), ()
    read = replace(reading, part_bytes_max=mapped.READ_BYTES_MAX, rows_max=mapped.READ_ROWS_MAX)
    plans = plan_all(located, read)
    mapped.check_columns(mapping, [plan.source for plan in plans])
    made = [mapped.convert(plan, mapping, reading) for plan in plans]
    told = (mapped.told(plan.source, done) for plan, done in made)
    return tuple(plan for plan, _ in made), tuple(text for text in told if text is not None)


def settle_repeated(
    plans: Sequence[Plan], key_columns: Sequence[str], mode: RepeatedKeys, reading: Reading
) -> tuple[Plan, ...]:
    """Leave out all rows but the last of each key, or refuse them, as the mode has it.

    Raises:
        SourceError: there are repeated keys and they are to be refused, or a file changed, or the disk is full.
        Stopped: nobody waits for it any longer.

    """
    workspace = reading.workspace
    with look_for_repeated(plans, key_columns, workspace) as repeated:
        if mode is RepeatedKeys.FAIL:
            refuse_repeated(plans, repeated)
            return tuple(plans)
        with Copy(workspace, workspace.kept / LISTING_FILE, "the list of rows that are left out", 0) as listing:
            return without_repeated(plans, repeated, listing, reading)
