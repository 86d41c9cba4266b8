"""Zigzag attention: every rank holds one early and one late chunk, so that a causal mask leaves each the same work.

Paper: none; as the ring-flash-attention library has it (github.com/zhuzilin/ring-flash-attention, README and its
    issue 2), and the Llama 3 report (arXiv 2407.21783, section 3.3.2) with an all-gather instead of a ring.
Follows: rank i of n holds chunks i and 2n - 1 - i of 2n; of a lower rank it sees the early chunk, of a higher one only
    its late chunk sees anything; keys and values go round as in ring attention.
Differs: without a mask it is ring attention over other tokens, where the library refuses.
Checked by: tests/unit/controller/collectives/attention/test_conformance.py, tests/paper/test_tokenring.py.
"""

from __future__ import annotations

from controller.collectives.attention.call import AttentionCall
from controller.collectives.attention.circulate import circulate
from controller.collectives.attention.layouts import MIRRORED
from controller.plan.ops import Plan

LAYOUT = MIRRORED


def zigzag(call: AttentionCall) -> Plan:
    """Two mirrored chunks a rank."""
    return circulate(call, LAYOUT, "zigzag_attention")
