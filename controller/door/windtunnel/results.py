"""What `run`, `collective` and `compare` return: a line for people, plain values, and rows for a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from controller.compare.measure import ComparisonRow
    from controller.experiment.collective_run import CollectiveTable
    from controller.experiment.result import Experiment

Row = dict[str, Any]


@dataclass(frozen=True, repr=False)
class FinishedRun:
    """A strategy that has run.

    Attributes:
        experiment: everything that is known of it.
    """

    experiment: Experiment

    @property
    def ok(self) -> bool:
        """Whether it ended well; memory that ran out is an end that did not."""
        return self.experiment.outcome.ok

    @property
    def time_s(self) -> float:
        """Time on the declared hardware [s]."""
        return self.experiment.outcome.time_s

    @property
    def tokens_per_s(self) -> float | None:
        """Throughput [tokens/s]; None when it did not end well."""
        return self.experiment.tokens_per_s

    def to_dict(self) -> Row:
        """The object of ``windtunnel run --json``."""
        return _plain(self.experiment.to_json())

    def rows(self) -> list[Row]:
        """One row with what was asked and what came of it, for a table of several runs."""
        document = self.to_dict()
        facts = ("strategy", "executor", "topology", "model")
        ends = ("outcome", "time_s", "prefill_s", "decode_s", "tokens_per_s", "energy_j")
        return [
            {
                **{key: document[key] for key in facts},
                **document["workload"],
                **{key: document[key] for key in ends},
            }
        ]

    def resources(self) -> list[Row]:
        """A row for each resource and queue: how long it was busy, and with how much."""
        return list(self.to_dict()["by_resource"])

    def ops(self) -> list[Row]:
        """A row for each kind of op: how often it ran, and how long all of them took."""
        return list(self.to_dict()["by_op"])

    def __repr__(self) -> str:
        from controller.report.tables import quantity

        run = self.experiment
        rate = "" if self.tokens_per_s is None else f", {self.tokens_per_s:.4g} tokens/s"
        ended = "" if self.ok else f", {run.outcome.ended}"
        what = f"{run.strategy.name} of {run.shape.name} on {run.topology.name}"
        return f"<{what}: {quantity(self.time_s, 's')}{rate}{ended}>"


@dataclass(frozen=True, repr=False)
class FinishedCollective:
    """A collective that was timed for every size.

    Attributes:
        table: everything that is known of it.
    """

    table: CollectiveTable

    def to_dict(self) -> Row:
        """The object of ``windtunnel collective --json``: nccl-tests' keys, times in us and bandwidths in GB/s."""
        from controller.report.nccl_table import table_json

        return _plain(table_json(self.table, ()))

    def rows(self) -> list[Row]:
        """A row for each size, out of place, in base units."""
        return [
            {
                "collective": self.table.prepared.spec.collective,
                "topology": self.table.prepared.topology.name,
                "ranks": self.table.prepared.group.world_size,
                "size_bytes": row.out_of_place.size_bytes,
                "algorithm": row.out_of_place.algorithm,
                "protocol": row.out_of_place.protocol,
                "pieces": row.out_of_place.call.pieces,
                "time_s": row.out_of_place.time_s,
                "algbw_bytes_per_s": row.out_of_place.algbw_bytes_per_s,
                "busbw_bytes_per_s": row.out_of_place.busbw_bytes_per_s,
                "wrong": row.out_of_place.wrong,
                "why": row.choice.reason,
            }
            for row in self.table.rows
        ]

    def __repr__(self) -> str:
        prepared = self.table.prepared
        ranks, count = prepared.group.world_size, len(self.table.rows)
        return f"<{prepared.spec.collective} over {ranks} ranks of {prepared.topology.name}: {count} sizes>"


@dataclass(frozen=True, repr=False)
class FinishedComparison:
    """Schemes side by side.

    Attributes:
        compared: a row for each candidate at each value of the sweep.
    """

    compared: tuple[ComparisonRow, ...]

    def to_dict(self) -> Row:
        """Under ``rows`` the list of ``windtunnel compare --json``."""
        return {"rows": [_plain(row.to_json()) for row in self.compared]}

    def rows(self) -> list[Row]:
        """The rows with a column for each swept key; without options and reports, which are no numbers."""
        found: list[Row] = []
        for row in self.to_dict()["rows"]:
            at = row.pop("at")
            found.append({**{key: row[key] for key in row if key not in ("options", "reports")}, **at})
        return found

    def __repr__(self) -> str:
        best = max(self.compared, key=lambda row: row.tokens_per_s or 0.0)
        rate = "none ended well" if best.tokens_per_s is None else f"{best.name} is fastest"
        return f"<comparison of {len(self.compared)} runs: {rate}>"


def _plain(document: object) -> Row:
    """Plain values alone: what JSON can hold."""
    from controller.report.json_output import plain

    made: Row = plain(document)
    return made
