"""What a run of a server drew, and what its devices cost an hour, over the tokens that it made.

A device works while its instance is in an iteration, less what the host does between two: the rest of the time it draws
idle power. Money is the rent of the devices of all instances over the run, of those that a policy switches off for the
time that they were on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from controller.execute.energy import Energy, energy_of
from controller.execute.outcome import ResourceUse
from controller.experiment.serving_run import ServingExperiment

MILLION = 1e6


@dataclass(frozen=True, slots=True)
class ServingCost:
    """Energy and money of a run.

    Attributes:
        energy: of the devices of all instances.
        tokens: generated for requests that ended well.
        usd: rent over the run; None where a product has no published price [USD].
    """

    energy: Energy
    tokens: int
    usd: float | None

    @property
    def joule_per_million_tokens(self) -> float | None:
        """Energy over a million generated tokens [J]."""
        per_token = self.energy.joule_per_token
        return None if per_token is None else per_token * MILLION

    @property
    def usd_per_million_tokens(self) -> float | None:
        """Rent over a million generated tokens [USD]."""
        return None if self.usd is None or not self.tokens else self.usd / self.tokens * MILLION

    @property
    def line(self) -> str:
        """For people; "" where nothing is known."""
        found = []
        joule, usd = self.joule_per_million_tokens, self.usd_per_million_tokens
        if joule is not None:
            found.append(f"{'at least ' if self.energy.lower_bound else ''}{joule / 3.6e6:.3g} kWh")
        if usd is not None:
            found.append(f"{usd:.3g} USD of rent")
        return f"a million tokens: {', '.join(found)}" if found else ""

    def to_json(self) -> dict[str, Any]:
        """The keys of ``serve --json`` under ``cost``."""
        return {
            "energy_j": self.energy.energy_j,
            "joule_per_million_tokens": self.joule_per_million_tokens,
            "energy_is_lower_bound": self.energy.lower_bound,
            "usd": self.usd,
            "usd_per_million_tokens": self.usd_per_million_tokens,
        }


def serving_devices(found: ServingExperiment) -> tuple[tuple[str, ...], ...]:
    """Devices of every instance."""
    return tuple(tuple(name for stage in each.stages for name in stage) for each in found.devices)


def serving_cost(found: ServingExperiment, usd_per_hour: float | None) -> ServingCost:
    """What a run came to.

    Args:
        found: the run.
        usd_per_hour: rent of the devices of all instances; None where it is not known.
    """
    spec, uses, used = found.spec, [], set()
    for devices, instance in zip(serving_devices(found), found.instances, strict=False):
        iterations = sum(lane.iterations for lane in instance.lanes)
        rows = sum(lane.rows for lane in instance.lanes)
        busy_s = sum(lane.busy_s for lane in instance.lanes) / len(instance.lanes)
        host_s = (iterations * spec.host_step_s + rows * spec.host_sequence_s) / len(instance.lanes)
        for name in devices:
            used.add(name)
            queues = found.topology.devices[name].spec.queues
            queue = next(each.name for each in queues.values() if each.kind == "compute")
            uses.append(ResourceUse(f"{name}.{queue}", "queue", max(0.0, busy_s - host_s), 0.0, 0.0, "ops"))
    devices_used = {name: device for name, device in found.topology.devices.items() if name in used}
    tokens = found.metrics.output_tokens
    energy = energy_of(replace(found.topology, devices=devices_used), uses, found.time_s, tokens)
    on = 1.0 if found.cluster is None else found.cluster.on_s / max(spec.instances * found.time_s, 1e-12)
    usd = None if usd_per_hour is None else usd_per_hour * on * found.time_s / 3600
    return ServingCost(energy, tokens, usd)
