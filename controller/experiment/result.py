"""What a run came to, with everything that a report needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from controller.execute.critical import Explanation
from controller.execute.energy import Energy, energy_of
from controller.execute.flash_traffic import wear_ratio
from controller.execute.outcome import Outcome
from controller.execute.path_shares import PathShare, path_shares
from controller.execute.trace import Trace
from controller.experiment.run_spec import RunSpec
from controller.models.scenario import Scenario
from controller.models.shape import ModelShape
from controller.models.training_scenario import TrainingScenario
from controller.program.results import TokenResult
from controller.strategies.entry import Strategy
from controller.topology.schema import Topology

AnyScenario = Scenario | TrainingScenario
"""What a strategy is given, by its task."""


@dataclass(frozen=True)
class Assumption:
    """A constant of kind ``assumed`` that a run used; `device` is the group, or the name of a link."""

    device: str
    path: str
    text: str
    source: str


@dataclass
class Experiment:
    """A finished run with everything that a report needs.

    Attributes:
        phases_wall_s: what the parts of a live command took on this machine, in order; empty for a virtual one [s].
    """

    request: RunSpec
    strategy: Strategy
    topology: Topology
    shape: ModelShape
    scenario: AnyScenario
    outcome: Outcome
    trace: Trace | None
    comparison: dict[str, Any] = field(default_factory=dict)
    explanation: Explanation | None = None
    phases_wall_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens over time [1/s]; None when the run did not end well.

        Time is that of the whole run, or of the phase that the result names, where only a part of the run is steady.
        """
        outcome, result = self.outcome, self.outcome.result
        if not outcome.ok or not isinstance(result, TokenResult):
            return None
        time_s = outcome.time_s if result.rate_phase is None else outcome.phases.get(result.rate_phase, 0.0)
        return float(result.token_count) / time_s if time_s > 0 else None

    @property
    def energy(self) -> Energy | None:
        """What the devices drew on the virtual clock; None when the run did not end well."""
        if not self.outcome.ok or self.outcome.time_s <= 0:
            return None
        result = self.outcome.result
        tokens = result.token_count if isinstance(result, TokenResult) else 0
        return energy_of(self.topology, self.outcome.resources, self.outcome.time_s, float(tokens))

    @property
    def bound_by(self) -> tuple[PathShare, ...]:
        """What the time of the run went into: its critical path, longest part first."""
        return () if self.explanation is None else path_shares(self.explanation, self.outcome.time_s)

    def to_json(self) -> dict[str, Any]:
        """The object of ``run --json``."""
        outcome, scenario, energy = self.outcome, self.scenario, self.energy
        return {
            "strategy": self.strategy.name,
            "executor": self.request.executor,
            "topology": self.topology.name,
            "model": self.shape.name,
            "workload": scenario.workload(),
            "outcome": outcome.ended,
            "time_s": outcome.time_s,
            "wall_s": outcome.wall_s,
            "phases_wall_s": dict(self.phases_wall_s),
            "paced_s": outcome.paced_s,
            "prefill_s": outcome.phases.get("prefill"),
            "decode_s": outcome.phases.get("decode"),
            "phases": dict(outcome.phases),
            "paced_phases": dict(outcome.paced_phases),
            "tokens_per_s": self.tokens_per_s,
            "energy_j": None if energy is None else energy.energy_j,
            "energy": None if energy is None else energy.to_json(),
            "reports": outcome.reports(),
            "by_resource": [
                {
                    "name": use.name,
                    "kind": use.kind,
                    "unit": use.unit,
                    "busy_s": use.busy_s,
                    "busy_ratio": use.busy_ratio,
                    "amount": use.amount,
                }
                for use in outcome.resources
            ],
            "by_op": [
                {"label": entry.label, "count": entry.count, "time_s": entry.time_s, "paced_s": entry.paced_s}
                for entry in outcome.op_times
            ],
            "peak_bytes": dict(outcome.peak_bytes),
            "flash": {
                name: {
                    "read_bytes": use.read_bytes,
                    "written_bytes": use.written_bytes,
                    "wear_ratio": wear_ratio(self.topology, name, use.written_bytes),
                }
                for name, use in outcome.flash.items()
            },
            "assumed": [vars(entry) for entry in assumptions(self.topology)],
            "overruns": outcome.overruns,
            "provenance": {
                "version": version("windtunnel"),
                "topology_digest": self.topology.digest,
                "seed": scenario.seed,
                "overrides": list(self.topology.overrides),
                "faults": [fault.text for fault in self.topology.faults],
            },
            "trace": None if self.request.trace is None else str(self.request.trace),
            "options": dict(self.request.options),
            "bound_by": [asdict(share) for share in self.bound_by],
            "explanation": (
                self.explanation.to_json()
                if self.explanation is not None and (self.request.explain or self.request.report is not None)
                else None
            ),
            **self.comparison,
        }


def assumptions(topology: Topology) -> tuple[Assumption, ...]:
    """Every assumed constant of a topology: of its devices, each product once, and of its links."""
    found: dict[tuple[str, str, str], Assumption] = {}
    for device in topology.devices.values():
        for constant in device.spec.constants.values():
            if constant.kind == "assumed":
                key = (device.group, constant.path, constant.text)
                found.setdefault(key, Assumption(device.group, constant.path, constant.text, constant.source))
    for link in topology.links:
        for constant in link.constants.values():
            if constant.kind == "assumed":
                key = (link.name, constant.path, constant.text)
                found.setdefault(key, Assumption(link.name, constant.path, constant.text, constant.source))
    return tuple(found.values())
