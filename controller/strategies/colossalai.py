"""Colossal-AI: states in main memory, moved by pageable copies, the optimizer as a separate stage.

Paper: Li et al., "Colossal-AI: A Unified Deep Learning System For Large-Scale Parallel Training", arXiv 2110.14883
(Gemini); a baseline of LoHan / Ratel (later versions of Fuyou), section III.
Follows: forward; backward that recomputes every block from its input; then Adam on the CPU, while the GPUs wait.
Kernels and copies take turns (`controller.offload.in_turns`); copies are pageable. As the authors' code moves chunks
    that are not pinned (colossalai/zero/gemini/chunk/chunk.py, `shard_move`): after the optimizer a chunk arrives as
    its fp32 master and is cast on the GPU, and one that must leave is copied back, although nothing changed it. What
    arrives in main memory gets a place that has just been allocated (`controller.offload.fresh_pages`).
Differs: chunks are the parts of the model, and every one leaves, as with all parameters offloaded; attention is eager
    (`controller.offload.eager_attention`). What frameworks lose beyond schedule and attention is not modelled.
Checked by: tests/paper/test_fuyou.py, tests/live/test_fuyou.py.
"""

from __future__ import annotations

from controller.models.training_scenario import TrainingScenario
from controller.offload.fresh_pages import fresh_bytes_per_s
from controller.offload.host_home import HostHome
from controller.offload.in_turns import InTurns
from controller.offload.train import train
from controller.offload.training_devices import chosen_gpus, host_of
from controller.program.run import Run, TrainingProgram


def colossalai(run: Run, scenario: TrainingScenario) -> TrainingProgram:
    """Training with states in main memory, by pageable copies."""
    gpus, host = chosen_gpus(scenario), host_of(scenario)
    home, fresh = HostHome(scenario, host), fresh_bytes_per_s(scenario.topology.devices[gpus[0]])
    policy = InTurns(
        "colossalai", scenario, gpus, host, home, copy="pageable", out_bytes_per_s=fresh, evicted=home.master
    )
    return train(run, scenario, policy)
