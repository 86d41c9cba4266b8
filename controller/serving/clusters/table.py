"""The table of cluster policies."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from controller.errors import BadWorkload
from controller.nearest import nearest
from controller.serving.client_request import ClientRequest
from controller.serving.cluster_state import ClusterState, Migration

Route = Callable[[ClusterState, ClientRequest], int]
Rebalance = Callable[[ClusterState, float], list[Migration]]
Scale = Callable[[ClusterState, float], int]


@dataclass(frozen=True, slots=True)
class ClusterEntry:
    """One policy.

    Attributes:
        name: what the command line calls it.
        summary: one line for people.
        module: its file, with `route` and as it needs them `rebalance`, `scale`, `pull_to`.
        period_s: how often `rebalance` and `scale` are asked; 0 for never [s].
        options: names and values of its numbers.
        roles: prompts and decodes have instances of their own.
        scales: `scale` is asked.
    """

    name: str
    summary: str
    module: str
    period_s: float = 0.0
    options: Mapping[str, float] = field(default_factory=dict)
    roles: bool = False
    scales: bool = False

    def function(self, name: str) -> Any:
        """A function of its file, imported now; None where it has none."""
        return getattr(importlib.import_module(self.module), name, None)


_HERE = "controller.serving.clusters"
_PDC = {
    "prefill": 6.0, "decode": 1.0, "prefill_ep": 32.0, "decode_ep": 320.0, "cache": 32.0, "cache_share": 0.5,
    "flash_gb": 2048.0, "batch": 96.0, "prefill_tokens": 16_384.0, "drafts": 1.0, "accepted": 0.7, "redundant": 32.0,
    "shared": 32.0, "rdma": 1.0, "ub": 1.0, "start": 0.0, "window": 0.0,
}  # fmt: skip
"""Instances and dies of the pools, hosts of the cache, their share of DRAM and GB of flash, requests and prompt tokens
of an NPU, draft tokens and how many are accepted, copies of experts; 1 or 0 for handoffs over RDMA or UB, and for reads
of the cache over UB or VPC; 0, 1 or 2 for instances that run, switch to the model or start cold; tokens of a receive
window, 0 for as many as can come."""
_LLUMNIX = {"out": 3.0, "into": 30.0, "headroom": 0.0, "scale_low": 10.0, "scale_high": 60.0}

CLUSTERS: Final[Mapping[str, ClusterEntry]] = {
    entry.name: entry
    for entry in (
        ClusterEntry("round_robin", "every instance in turn", f"{_HERE}.round_robin"),
        ClusterEntry("least_loaded", "the instance with the fewest KV blocks used and asked for",
                     f"{_HERE}.least_loaded"),
        ClusterEntry("llumnix", "by freeness, with live migration", f"{_HERE}.llumnix", 0.2, _LLUMNIX),
        ClusterEntry("llumnix_scaling", "the same, and as many instances as keep freeness in a range",
                     f"{_HERE}.llumnix", 0.2, _LLUMNIX, scales=True),
        ClusterEntry("least_loaded_scaling", "least loaded, with the scaling of Llumnix",
                     f"{_HERE}.least_loaded_scaling", 0.2, _LLUMNIX, scales=True),
        ClusterEntry("distserve", "prompts and decodes on instances of their own, KV pulled", f"{_HERE}.distserve",
                     roles=True),
        ClusterEntry("pdc", "pools for prompts, decodes and caching on a supernode (CloudMatrix-Infer)",
                     f"{_HERE}.pdc", options=_PDC, roles=True),
    )
}  # fmt: skip
"""By name."""


def load_cluster(name: str) -> ClusterEntry:
    """The policy called `name`.

    Raises:
        BadWorkload: there is none; names the nearest one.
    """
    if name in CLUSTERS:
        return CLUSTERS[name]
    hint = nearest(name, CLUSTERS)
    raise BadWorkload(f"no cluster policy {name!r}; {hint}")


LAYOUT_OPTIONS: Final = ("prefill", "prefill_tp", "prefill_pp", "decode_tp", "decode_pp")
"""Numbers of policies with instances for prompts and for decodes."""
ANY_OPTIONS: Final = ("period", "redundant")
"""Numbers that every policy takes: how often it is asked [s], and copies of experts."""


def check_options(entry: ClusterEntry, given: Mapping[str, float]) -> None:
    """Refuses numbers that a policy does not have.

    Raises:
        BadWorkload: names the nearest one.
    """
    known = (*entry.options, *(LAYOUT_OPTIONS if entry.roles else ()), *ANY_OPTIONS)
    for name in given:
        if name not in known:
            hint = nearest(name, known, "it has")
            raise BadWorkload(f"--cluster-option {name}: {entry.name} has no such number; {hint}")
