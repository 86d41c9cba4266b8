"""The attention engine in a drive: matrix-vector units, softmax units and a filter beside each flash channel.

Model: decode attention of one head runs through a pipeline: pages leave the flash channels, a filter beside each
channel drops what was not selected, units multiply q with K, softmax runs over the scores, units multiply the weights
with V. Each stage has a rate; heads follow one another, so that all of them take the longest stage for every head and
one pass of the others to fill and drain the pipeline. Work of a stage is spread evenly over its units.
Source: InstInfer (arXiv 2409.04992; HPCA 2025), Table I: for one OPT-13B head of 128 elements and 16 tokens, GeMV 12.7
GFLOP/s in 0.32 us (4,096 FLOP), the filter 1.85 GB/s in 37 us (16 pages of 4 KiB, one a token); softmax 14.2 MFLOP/s in
"164 us", which only fits the paper's own step times as 1.64 us, 16 elements. Section V-B: 8 channels.
Valid for: dense and filtered decode attention with K and V in flash, whole pages.
Not modelled: firmware that starts the engine (`launch` of its queue), the sort that selects tokens, DRAM of the drive.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

GEMV_FLOP_PER_S: Final = 12.7e9
"""One matrix-vector unit (InstInfer, Table I, on the board)."""
SOFTMAX_ELEMENTS_PER_S: Final = 16 / 1.64e-6
"""One softmax unit: 16 elements in 1.64 us (InstInfer, Table I, decimal point restored)."""
FILTER_BYTES_PER_S: Final = 1.85e9
"""One filter (InstInfer, Table I, on the board)."""


@dataclass(frozen=True, slots=True)
class DriveEngine:
    """Rates of the stages of one drive.

    Attributes:
        flash_bytes_per_s: of all channels together [bytes/s].
        filter_bytes_per_s: of all filters together [bytes/s].
        gemv_flop_per_s: of all matrix-vector units together [FLOP/s].
        softmax_elements_per_s: of all softmax units together [1/s].
        page_bytes: smallest read of the flash [bytes].
    """

    flash_bytes_per_s: float
    filter_bytes_per_s: float
    gemv_flop_per_s: float
    softmax_elements_per_s: float
    page_bytes: int = 4096


def instinfer_engine(channels: int = 8, gemv_units: int = 8, softmax_units: int = 8) -> DriveEngine:
    """InstInfer's units: a filter beside every channel of 1.4 GB/s, and as many of the others as asked for.

    Raises:
        ValueError: less than one of anything.
    """
    if min(channels, gemv_units, softmax_units) < 1:
        raise ValueError(f"{channels} channels, {gemv_units} GeMV and {softmax_units} softmax units; at least one each")
    return DriveEngine(
        channels * 1.4e9,
        channels * FILTER_BYTES_PER_S,
        gemv_units * GEMV_FLOP_PER_S,
        softmax_units * SOFTMAX_ELEMENTS_PER_S,
    )


def stage_times_s(
    engine: DriveEngine,
    tokens: int,
    head_dim: int,
    item_bytes: int = 2,
    page_share: float = 1.0,
    kept_share: float = 1.0,
) -> dict[str, float]:
    """How long each stage is busy with decode attention of one head, by name [s].

    Args:
        engine: rates.
        tokens: cached tokens of the head.
        head_dim: elements of K and of V a token.
        item_bytes: of an element [bytes].
        page_share: of the pages that are read at all; the page-level step keeps about half at a compression of 8.
        kept_share: of the tokens that pass the filter.

    Raises:
        ValueError: a share outside 0 to 1, or more kept than read.
    """
    if not 0.0 <= kept_share <= page_share <= 1.0:
        raise ValueError(f"shares of pages and tokens are {page_share} and {kept_share}; 0 <= kept <= read <= 1")
    side_bytes = tokens * head_dim * item_bytes
    pages = ceil(2 * ceil(side_bytes / engine.page_bytes) * page_share)
    read_bytes = float(pages * engine.page_bytes)
    kept = tokens * kept_share
    return {
        "flash": read_bytes / engine.flash_bytes_per_s,
        "filter": read_bytes / engine.filter_bytes_per_s,
        "gemv": 4.0 * kept * head_dim / engine.gemv_flop_per_s,
        "softmax": kept / engine.softmax_elements_per_s,
    }
