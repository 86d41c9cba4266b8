"""What to capture: the program, how many ranks, on which topology."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.capture.errors import BadProgram
from controller.collectives.group import Group, first_ranks
from controller.topology.schema import Topology
from node.hardware.device import DeviceSpec

CAPABILITIES: Mapping[str, tuple[int, int]] = {
    "v100": (7, 0), "a100": (8, 0), "a10": (8, 6), "rtx_30": (8, 6), "rtx_a6000": (8, 6), "l40s": (8, 9),
    "rtx_40": (8, 9), "h": (9, 0), "gh200": (9, 0), "b200": (10, 0), "gb200": (10, 0), "rtx_50": (12, 0),
    "rtx_pro": (12, 0),
}  # fmt: skip
"""Beginning of a product's name to its compute capability (NVIDIA, CUDA GPUs); the longest that fits counts."""


@dataclass(frozen=True, slots=True)
class CaptureRequest:
    """One program to capture.

    Attributes:
        program: path of the script.
        arguments: its own.
        topology: the declared cluster.
        ranks: how many of its devices take part; None for all.
        steps: how many training steps are captured.
        oracle: answers to values that only data could say, by kind.
    """

    program: Path
    arguments: tuple[str, ...]
    topology: Topology
    ranks: int | None = None
    steps: int = 3
    oracle: Mapping[str, str] = field(default_factory=dict)

    def group(self) -> Group:
        """The devices that are ranks.

        Raises:
            BadGroup: more ranks than the topology has devices.
            BadProgram: no such file, or no step to capture.
        """
        if not self.program.is_file():
            raise BadProgram(f"no program {str(self.program)!r}; give the path of a Python file")
        if self.steps < 2:
            raise BadProgram(f"--steps {self.steps}: the first step warms up and is not measured; give 2 or more")
        return first_ranks(self.topology, self.ranks)


def environment_of(group: Group, rank: int) -> dict[str, str]:
    """What torchrun would tell a rank of the program."""
    hosts = group.by_host()
    node = next(number for number, ranks in enumerate(hosts) if rank in ranks)
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(group.world_size),
        "LOCAL_RANK": str(hosts[node].index(rank)),
        "LOCAL_WORLD_SIZE": str(len(hosts[node])),
        "GROUP_RANK": str(node),
        "GROUP_WORLD_SIZE": str(len(hosts)),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29500",
        "TORCHELASTIC_RUN_ID": "windtunnel",
    }


def device_facts(spec: DeviceSpec, count: int) -> dict[str, Any]:
    """What ``torch.cuda`` says about a declared device."""
    known = [name for name in CAPABILITIES if spec.product.startswith(name)]
    capability = CAPABILITIES[max(known, key=len)] if known else (8, 0)
    first = next(iter(spec.computes.values()))
    tier = next(iter(spec.tiers.values()))
    chip = spec.product.upper().replace("_", " ")
    return {
        "name": f"NVIDIA {chip}" if known else spec.description,
        "memory_bytes": int(tier.capacity_bytes),
        "capability": capability,
        "sm_count": int(first.constants.get("sm_count", 1)),
        "l2_bytes": int(first.constants.get("l2", 0)),
        "count": count,
    }
