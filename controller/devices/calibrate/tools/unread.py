"""Tools whose output people paste and nothing here reads: known by name, so that the refusal can say so."""

from __future__ import annotations

import re
from typing import Final

_OWN = "write its rate, with the source, into a sheet of your own (--catalog)"
_MLC = "run Intel MLC with --bandwidth_matrix, which says of how many sockets a rate is"
_HOST = "run nvbandwidth -t host_to_device_memcpy_ce device_to_host_memcpy_ce"
_PEERS = "run nvbandwidth -t device_to_device_memcpy_read_ce device_to_device_memcpy_write_ce"
_LOCAL = "run nvbandwidth -t device_local_copy"
_XGMI = "run all_gather_perf of rccl-tests for links between GPUs; for other parts " + _OWN
_DRIVE = "run fio with --direct=1 on the drive"
_PLAIN = "paste that of nvbandwidth, nccl-tests, fio or Intel MLC"

UNREAD: Final = {
    r"^\s*(?:Copy|Scale|Add|Triad):\s+[0-9.]+": ("STREAM", _MLC),
    r"BabelStream": ("BabelStream", _LOCAL),
    r"^# OSU ": ("the OSU micro-benchmarks", _OWN),
    r"RDMA_(?:Write|Read)[ _](?:BW|Lat)|Send[ _](?:BW|Lat)|(?:Write|Read|Send) Latency Test|#bytes\s+#iterations": (
        "perftest (ib_write_bw)",
        "nic.read is its BW average, nic.latency its t_typical; " + _OWN,
    ),
    r"P2P Connectivity Matrix|\[P2P \(Peer-to-Peer\)": ("p2pBandwidthLatencyTest", _PEERS),
    r"\[CUDA Bandwidth Test\]|^bandwidthTest-\w+": ("bandwidthTest", _HOST),
    r"RocmBandwidthTest": ("rocm-bandwidth-test", _XGMI),
    r"TransferBench": ("TransferBench", _XGMI),
    r"Gflop/s\)\s+errors|gpu.?burn": ("gpu-burn", _PLAIN),
    r"^\s*Timing buffered disk reads|hdparm": ("hdparm", _DRIVE),
    r"bytes .* copied, ": ("dd", _DRIVE),
    r"^\[ *ID\] Interval": ("iperf", _OWN),
    r"^\s*(?:rc|ud|uc|tcp)_(?:bw|lat|bi_bw):": ("qperf", _OWN),
}
"""Mark in the output -> tool, and what to do instead."""


def unread_tool(text: str) -> tuple[str, str]:
    """The tool that printed `text`, where nothing here reads it, and what to do instead; ("", "") when unknown."""
    return next((said for mark, said in UNREAD.items() if re.search(mark, text, re.MULTILINE)), ("", ""))
