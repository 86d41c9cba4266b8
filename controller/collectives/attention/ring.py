"""Ring attention: every rank holds a contiguous part of the sequence.

Paper: Liu, Zaharia and Abbeel, Ring Attention with Blockwise Transformers for Near-Infinite Context, arXiv 2310.01889.
Follows: n steps; keys and values go to the next rank while the block at hand is computed; partial results are joined by
    their log-sum-exps.
Differs: only the attention, without the feed-forward layers that the paper computes block by block as well. Blocks that
    a causal mask leaves empty are skipped, and their keys and values still passed on, so the last rank sets the time.
Checked by: tests/unit/controller/collectives/attention/test_conformance.py, tests/paper/test_tokenring.py.
"""

from __future__ import annotations

from controller.collectives.attention.call import AttentionCall
from controller.collectives.attention.circulate import circulate
from controller.collectives.attention.layouts import CONTIGUOUS
from controller.plan.ops import Plan

LAYOUT = CONTIGUOUS


def ring(call: AttentionCall) -> Plan:
    """Parts in order."""
    return circulate(call, LAYOUT, "ring_attention")
