"""Tools whose output people paste and nothing here reads: known by name, so that the refusal can say so."""

from __future__ import annotations

import re
from typing import Final

UNREAD: Final = {
    r"^\s*(?:Copy|Scale|Add|Triad):\s+[0-9.]+": "STREAM",
    r"^# OSU ": "the OSU micro-benchmarks",
    r"RDMA_(?:Write|Read) BW|Send BW Test|#bytes\s+#iterations": "perftest (ib_write_bw)",
    r"P2P Connectivity Matrix|\[P2P \(Peer-to-Peer\)": "p2pBandwidthLatencyTest",
    r"\[CUDA Bandwidth Test\]": "bandwidthTest",
    r"RocmBandwidthTest": "rocm-bandwidth-test",
    r"TransferBench": "TransferBench",
    r"Gflop/s\)\s+errors|gpu.?burn": "gpu-burn",
    r"^\s*Timing buffered disk reads|hdparm": "hdparm",
    r"bytes .* copied, ": "dd",
    r"^\[ *ID\] Interval": "iperf",
}
"""Mark in the output -> tool."""


def unread_tool(text: str) -> str:
    """The tool that printed `text`, where nothing here reads it; "" when it is not known."""
    return next((name for mark, name in UNREAD.items() if re.search(mark, text, re.MULTILINE)), "")
