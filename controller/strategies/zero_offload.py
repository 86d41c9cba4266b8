"""ZeRO-Offload: states in main memory, block inputs on the GPU, the optimizer as a separate stage.

Paper: Ren et al., "ZeRO-Offload: Democratizing Billion-Scale Model Training", arXiv 2101.06840; a baseline of LoHan /
Ratel (later versions of Fuyou), section III.
Follows: forward; backward that recomputes every block from its input; then Adam on the CPU, while the GPUs wait.
Kernels and copies take turns (`controller.offload.in_turns`).
Differs: without the delayed update; attention is eager (`controller.offload.eager_attention`). That block inputs stay
on the GPU (DeepSpeed's default) is a reading: it is what ends it at batch 32. What frameworks lose beyond schedule and
attention is not modelled.
Checked by: tests/paper/test_fuyou.py, tests/live/test_fuyou.py.
"""

from __future__ import annotations

from controller.models.training_scenario import TrainingScenario
from controller.offload.host_home import HostHome
from controller.offload.in_turns import InTurns
from controller.offload.train import train
from controller.offload.training_devices import chosen_gpus, host_of
from controller.program.run import Run, TrainingProgram


def zero_offload(run: Run, scenario: TrainingScenario) -> TrainingProgram:
    """Training with states in main memory and block inputs on the GPU."""
    gpus, host = chosen_gpus(scenario), host_of(scenario)
    return train(run, scenario, InTurns("zero_offload", scenario, gpus, host, HostHome(scenario, host)))
