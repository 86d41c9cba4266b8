"""Decodes of a decode instance; where blocks run out the latest leaves and is recomputed here.

Paper: DistServe, OSDI 2024 (arXiv 2401.09670), section 4.3: the largest batch that memory holds.
Differs: the paper's engine stops pulling at 90 % of its memory, as `watermark` of the instance does here.
Checked by: tests/unit/controller/serving/test_cluster.py.
"""

from __future__ import annotations

from controller.serving.iteration import IDLE, Iteration
from controller.serving.schedulers.parts import leaving, whole_prompts
from controller.serving.state import InstanceState


def decide(state: InstanceState, now: float) -> Iteration:
    """A decode step; who had to leave comes back first."""
    chunks = whole_prompts(state, state.waiting) if state.waiting else ()
    if chunks:
        return Iteration(chunks)
    if not state.decoding:
        return IDLE
    gone = leaving(state)
    return Iteration(decode=len(gone) < len(state.decoding), preempt=gone, steady=not gone)
