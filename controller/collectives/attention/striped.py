"""Striped attention: every rank holds every n-th token, so that a causal mask halves every block alike.

Paper: Brandon et al., Striped Attention: Faster Ring Attention for Causal Transformers, arXiv 2311.09431.
Follows: tokens are dealt out one by one (stripes of one token); keys and values go round as in ring attention.
Differs: tokens lie in that order from the start; the permutation before the first layer is not part of the call.
Checked by: tests/unit/controller/collectives/attention/test_conformance.py, tests/paper/test_tokenring.py.
"""

from __future__ import annotations

from controller.collectives.attention.call import AttentionCall
from controller.collectives.attention.circulate import circulate
from controller.collectives.attention.layouts import STRIPED
from controller.plan.ops import Plan

LAYOUT = STRIPED


def striped(call: AttentionCall) -> Plan:
    """Stripes of one token."""
    return circulate(call, LAYOUT, "striped_attention")
