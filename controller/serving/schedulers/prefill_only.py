"""Prompts of a prefill instance: packed up to the length that saturates the device; a longer one runs alone.

Paper: DistServe, OSDI 2024 (arXiv 2401.09670), section 4.3.
Follows: first come, first served; prompts are put together until their new tokens reach `budget_tokens`, the shortest
    length that saturates the device.
Differs: nothing.
Checked by: tests/unit/controller/serving/test_cluster.py.
"""

from __future__ import annotations

from controller.serving.iteration import Iteration
from controller.serving.schedulers.parts import whole_prompts
from controller.serving.state import InstanceState


def decide(state: InstanceState, now: float) -> Iteration:
    """A pass over prompts, where any waits."""
    return Iteration(whole_prompts(state, state.waiting, spare=state.free_blocks))
