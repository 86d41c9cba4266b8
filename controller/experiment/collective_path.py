"""What the time of a call went into: its critical path, for which it is timed once more."""

from __future__ import annotations

from dataclasses import replace

from controller.collectives.measure.calls import measure
from controller.collectives.protocol import as_seen, protocols_of
from controller.execute.critical import PathRecord
from controller.execute.path_shares import PathShare, path_shares
from controller.experiment.collective_run import CollectiveTable


def bound_of_largest(table: CollectiveTable) -> tuple[PathShare, ...] | None:
    """The critical path of the largest size; None for calls in bulk, and for a protocol of NCCL's own."""
    prepared, entry = table.prepared, table.rows[-1].out_of_place
    protocol = next((each for each in protocols_of(prepared.topology) if each.name == entry.protocol), None)
    if prepared.chooser is not None or protocol is None:
        return None
    record = PathRecord(overlap=False)
    outcome = measure(as_seen(prepared.topology, entry.call.group, protocol), replace(entry), record)
    return path_shares(record.explain(), outcome.time_s)
