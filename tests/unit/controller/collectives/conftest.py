"""Groups and a box of round numbers."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.collectives.group import Group, InSwitch
from controller.topology.schema import Abilities, Device, Endpoint, Link, Topology
from node.hardware.device import ComputeSpec, DeviceSpec, PortSpec, QueueSpec, TierSpec

GIGA = 1e9
LINK_BYTES_PER_S, LINK_LATENCY_S, HBM_BYTES_PER_S, LAUNCH_S = 10 * GIGA, 1e-6, 1000 * GIGA, 3e-6

TYPES = ("fp64", "fp32", "fp16", "bf16", "int64", "int32", "int8")


def _load_twin():
    """`plan_values.py` beside this file, importable by its name: test files are no package."""
    path = Path(__file__).with_name("plan_values.py")
    spec = importlib.util.spec_from_file_location("plan_values", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["plan_values"] = module
    spec.loader.exec_module(module)


_load_twin()


@pytest.fixture(scope="session")
def group() -> Callable[[int], Group]:
    able = InSwitch(TYPES, True)
    return lambda size: Group(tuple(f"gpu{rank}" for rank in range(size)), ("hbm",) * size, (), able, able)


@pytest.fixture(scope="session")
def box() -> Callable[[int], Topology]:
    """``box(n)``: GPUs around one switch; a hop is two links of 10 GB/s and 1 us, a reduction costs 3 us to launch.

    HBM reads and writes do not share, at 1 TB/s each way, and arithmetic costs next to nothing.
    """
    spec = DeviceSpec(
        "toy", "gpu", "for tests",
        {"hbm": TierSpec("hbm", "dram", 1 << 36, HBM_BYTES_PER_S, HBM_BYTES_PER_S)},
        {"vector": ComputeSpec("vector", {"fp32": 1e18})},
        {"nvlink": PortSpec("nvlink", 100 * GIGA, 100 * GIGA)},
        {"stream": QueueSpec("stream", "compute", 1, LAUNCH_S)},
    )  # fmt: skip
    made: dict[int, Topology] = {}

    def build(size: int) -> Topology:
        if size not in made:
            names = [f"gpu{rank}" for rank in range(size)]
            devices = {name: Device(name, "gpu", rank, "host0", spec) for rank, name in enumerate(names)}
            links = tuple(
                Link(name, Endpoint(name, "nvlink"), Endpoint("switch"), LINK_BYTES_PER_S, LINK_BYTES_PER_S,
                     LINK_LATENCY_S)
                for name in names
            )  # fmt: skip
            made[size] = Topology("box", "test", devices, ("switch",), links, digest="0" * 64,
                                  abilities={"switch": Abilities(TYPES, True, 100 * GIGA)})  # fmt: skip
        return made[size]

    return build
