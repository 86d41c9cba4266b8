"""NanoFlow: a dense batch in every iteration, cut into nano-batches whose kernels share the devices.

Paper: Zhu et al., 'NanoFlow: Towards Optimal Large Language Model Serving Throughput', arXiv 2408.12757.
Follows: decodes first, prompts in chunks up to the dense batch of `budget_tokens`; compute, memory and network
    operations of nano-batches side by side (`controller.serving.device_times.nano_batches`).
Differs: the next batch is not formed while this one runs; with ``--host-step 0s`` the host takes no time.
Checked by: tests/unit/controller/serving/schedulers, `windtunnel reproduce nanoflow`.
"""

from __future__ import annotations

from dataclasses import replace

from controller.serving.iteration import Iteration
from controller.serving.schedulers import sarathi
from controller.serving.state import InstanceState


def decide(state: InstanceState, now: float) -> Iteration:
    """Sarathi's decision in the form of nano-batches."""
    return replace(sarathi.decide(state, now), side_by_side=True, steady=False)
