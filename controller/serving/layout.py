"""How the devices of a topology are divided among instances, their pipeline stages and their ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.errors import BadTopology, BadWorkload
from controller.serving.cluster_state import BOTH, DECODE, PREFILL
from controller.topology.schema import Topology


@dataclass(frozen=True, slots=True)
class InstanceDevices:
    """Devices of one instance.

    Attributes:
        role: ``both``, ``prefill`` or ``decode``.
        stages: devices of every pipeline stage, rank by rank.
    """

    role: str
    stages: tuple[tuple[str, ...], ...]

    @property
    def count(self) -> int:
        """Number of devices."""
        return sum(map(len, self.stages))


def instance_devices(
    topology: Topology,
    instances: int,
    tp: int,
    pp: int,
    options: Mapping[str, float] | None = None,
    roles: bool = False,
) -> list[InstanceDevices]:
    """Devices of every instance, in the order of the topology.

    Args:
        topology: with the devices.
        instances: how many.
        tp, pp: ranks of a stage, and stages of an instance.
        options: ``prefill`` instances of all; ``prefill_tp``, ``prefill_pp``, ``decode_tp``, ``decode_pp`` where
            prompts and decodes have instances of their own.
        roles: whether they have.

    Raises:
        BadTopology: fewer devices than instances need.
        BadWorkload: a number below 1, or roles that leave one side without an instance.
    """
    given = options or {}
    for name, value in (("--instances", instances), ("--tp", tp), ("--pp", pp)):
        if value < 1:
            raise BadWorkload(f"{name} is {value}; at least 1 is needed")
    wanted = [(BOTH, tp, pp)] * instances
    if roles:
        first = int(given.get("prefill", max(1, instances // 2)))
        if not 0 < first < instances:
            raise BadWorkload(
                f"{first} of {instances} instances for prompts leave none for {'decodes' if first else 'prompts'}; "
                f"raise --instances to 2 or more, or change --cluster-option prefill=N"
            )
        wanted = [
            (role, int(given.get(f"{role}_tp", tp)), int(given.get(f"{role}_pp", pp)))
            for role in (PREFILL,) * first + (DECODE,) * (instances - first)
        ]
    found = [
        each.name for kind in ("gpu", "npu") for each in topology.of_kind(kind) if each.spec.compute_queue is not None
    ]
    if not found:
        raise BadTopology(f"topology {topology.name!r} has no GPU that computes; choose another --topology")
    need = sum(ranks * stages for _, ranks, stages in wanted)
    if need > len(found):
        raise BadTopology(
            f"{instances} instances of {tp} x {pp} devices need {need}, and topology {topology.name!r} has "
            f"{len(found)}; lower --instances, --tp or --pp, or declare more devices with --set"
        )
    made, at = [], 0
    for role, ranks, stages in wanted:
        made.append(InstanceDevices(role, tuple(
            tuple(found[at + stage * ranks : at + (stage + 1) * ranks]) for stage in range(stages)
        )))  # fmt: skip
        at += ranks * stages
    return made
