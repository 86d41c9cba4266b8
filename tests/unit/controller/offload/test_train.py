"""What every training run does alike: tokens in, losses and parameters out."""

import numpy as np

from controller.models.catalog import load_model
from controller.models.training import parts
from controller.models.training_scenario import TrainingScenario
from controller.models.weights import SeededWeights
from controller.offload.train import train
from controller.offload.training_gpu import TrainingGpu
from controller.plan.ops import Plan, View
from controller.topology.loader import load_topology

SHAPE = load_model("tiny-opt")
TOKENS = np.arange(2 * 2 * 4 * 17).reshape(2, 2, 4, 17)
GIVEN = TrainingScenario(load_topology("dgx_h100", ("gpu.count=2",)), SHAPE, 4, 16, 2, "fp16", token_ids=TOKENS)


class Policy:
    """Two GPUs, one empty plan; the parameters of one layer lie in two pieces."""

    def __init__(self):
        self.gpus = [TrainingGpu(GIVEN, f"gpu{number}", number) for number in range(2)]
        self.part = parts(SHAPE)[1]
        whole = self.part.layout.buffer("gpu0", "hbm", "whole", "fp32")
        half = self.part.layout.elements // 2
        self.pieces = [View(whole, 0, (half,)), View(whole, 4 * half, (self.part.layout.elements - half,))]

    def plans(self):
        return {"steps": Plan("step", (), (), frozenset({"step"}))}

    def place(self, run):
        run.placed = True

    def masters(self):
        return [(self.pieces, [self.part])]


class Executor:
    """Notes what a program does and answers what it wants."""

    live = True

    def __init__(self):
        self.written, self.steps, self.phases = [], [], []

    def write(self, buffer, content):
        self.written.append((buffer.device, buffer.name, content))

    def submit(self, plan, **bindings):
        self.steps.append(bindings["step"])

    def fetch(self, where):
        return where

    def mark(self, phase):
        self.phases.append(phase)

    def progress(self, done, total, what):
        assert done <= total


def test_tokens_arrive_and_losses_and_parameters_leave():
    policy, weights = Policy(), SeededWeights(SHAPE)
    content = policy.part.content(weights.tensor)
    half = policy.part.layout.elements // 2
    losses = iter((1.0, 3.0, 4.0, 6.0))
    run = Executor()
    program, answer = train(run, GIVEN, policy), None
    try:
        while True:
            wish = program.send(answer)
            if wish is None:
                answer = None
            elif wish in policy.pieces:
                answer = content[:half] if wish is policy.pieces[0] else content[half:]
            else:
                answer = np.array([next(losses)])
    except StopIteration as stop:
        found = stop.value
    assert run.steps == [1, 2] and run.phases == ["steps"] * 2 and run.placed
    assert found.losses == [2.0, 5.0] and found.trained_tokens == 2 * 2 * 4 * 16
    assert found.gpus == 2 and found.rate_phase == "steps"
    assert set(found.parameters) == {f"layers.0.{name}" for name in policy.part.layout.shapes}
    for name, values in found.parameters.items():
        np.testing.assert_array_equal(values, weights.tensor(name))
    # Inputs are all tokens but the last, targets all but the first; each GPU has its own.
    assert [entry[:2] for entry in run.written[:4]] == [
        (f"gpu{n}", name) for n in (0, 1) for name in ("ids", "targets")
    ]
    np.testing.assert_array_equal(run.written[6][2], TOKENS[1, 1, :, :16])
    np.testing.assert_array_equal(run.written[7][2], TOKENS[1, 1, :, 1:])
