"""What NCCL believes about its algorithms and protocols: the figures that its choice goes by.

Source: NVIDIA NCCL, src/graph/tuning.cc: base latencies, latencies of a hop by kind of hardware, largest bandwidths by
generation of GPU, corrections of trees, efficiency of NVLS. Version 2.27 has them as here; 2.21 knows no efficiency of
NVLS. They say what NCCL picks, and not how long it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PROTOCOLS = ("ll", "ll128", "simple")
GENERATIONS = ("volta", "ampere", "hopper", "blackwell")

Triple = tuple[float, float, float]
"""Of LL, LL128 and Simple; of one node, two nodes and more, where a generation has it."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """The table of one version.

    Attributes:
        base_us: before the first hop, by algorithm [us].
        nvlink_us, net_us: of a hop, by algorithm [us].
        nvls_us: of NVLS on one node, whatever the number of ranks [us].
        ll_gb_per_s: largest bus bandwidth of LL by generation, for one, two and more nodes [GB/s].
        ring_ll128_gb_per_s, tree_ll128_gb_per_s, tree_gb_per_s: of one channel, likewise [GB/s].
        nvls_share: of the links, by generation; 0 without NVLS.
        tree_corrections: factors of a tree's bandwidth from 64 B on, for each doubling.
    """

    base_us: Mapping[str, Triple]
    nvlink_us: Mapping[str, Triple]
    net_us: Mapping[str, Triple]
    nvls_us: float
    ll_gb_per_s: Mapping[str, Triple]
    ring_ll128_gb_per_s: Mapping[str, Triple]
    tree_ll128_gb_per_s: Mapping[str, Triple]
    tree_gb_per_s: Mapping[str, Triple]
    nvls_share: Mapping[str, float]
    tree_corrections: tuple[tuple[float, ...], ...]


_TREE_CORRECTIONS = (
    (1, 1, 1, 1, 0.9, 0.8, 0.7, 0.7, 0.7, 0.7, 0.6, 0.5, 0.4, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1, 1, 1),
    (1, 1, 1, 1, 1, 0.9, 0.8, 0.8, 0.8, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.8, 0.9, 0.9, 0.9, 0.9, 1, 1),
    (0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.5, 0.5, 0.5, 0.6, 0.7, 0.8, 0.7, 0.7, 0.8, 0.9, 0.9),
)  # fmt: skip


def _tuning(nvls_share: Mapping[str, float]) -> Tuning:
    return Tuning(
        base_us={"tree": (6.8, 14.0, 8.4), "ring": (6.6, 14.0, 8.4)},
        nvlink_us={"tree": (0.6, 1.25, 4.0), "ring": (0.6, 1.9, 3.4)},
        net_us={"tree": (5.0, 8.5, 14.0), "ring": (2.7, 4.0, 14.0)},
        nvls_us=25.0,
        ll_gb_per_s={
            "volta": (39.0, 39.0, 20.4), "ampere": (87.7, 22.5, 19.0), "hopper": (141.0, 45.0, 35.0),
            "blackwell": (282.0, 90.0, 70.0),
        },
        ring_ll128_gb_per_s={
            "volta": (20.0, 20.0, 20.0), "ampere": (20.0, 20.0, 20.0), "hopper": (36.7, 36.7, 36.7),
            "blackwell": (73.4, 73.4, 73.4),
        },
        tree_ll128_gb_per_s={
            "volta": (20.0, 20.0, 20.0), "ampere": (20.0, 20.0, 20.0), "hopper": (36.7, 36.7, 29.0),
            "blackwell": (73.4, 73.4, 58.0),
        },
        tree_gb_per_s={
            "volta": (26.5, 18.5, 10.0), "ampere": (24.0, 23.6, 17.8), "hopper": (38.7, 41.4, 36.0),
            "blackwell": (77.4, 82.8, 72.0),
        },
        nvls_share=nvls_share,
        tree_corrections=_TREE_CORRECTIONS,
    )  # fmt: skip


VERSIONS: Mapping[str, Tuning] = {
    "2.21": _tuning({"volta": 0.0, "ampere": 0.0, "hopper": 1.0, "blackwell": 1.0}),
    "2.27": _tuning({"volta": 0.0, "ampere": 0.0, "hopper": 0.85, "blackwell": 0.74}),
}
