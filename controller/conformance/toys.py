"""Strategies at toy size: models that take milliseconds, and a workload through every branch of a decode loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from controller.experiment.result import AnyScenario
from controller.experiment.run_spec import RunSpec
from controller.experiment.virtual import virtual_scenario
from controller.models.catalog import load_model
from controller.models.shape import ModelShape
from controller.program.run import ProgramFunction
from controller.strategies.entry import TRAINING, Strategy
from controller.strategies.table import lookup
from controller.topology.loader import load_topology
from controller.topology.schema import Topology


@dataclass(frozen=True)
class Toy:
    """A strategy with everything that it needs to run.

    Attributes:
        strategy: what to run.
        shape: of the model.
        topology: where.
        request: workload and options.
    """

    strategy: Strategy
    shape: ModelShape
    topology: Topology
    request: RunSpec

    def scenario(self) -> AnyScenario:
        """Its scenario without values."""
        return virtual_scenario(self.request, self.strategy, self.topology, self.shape)

    def program(self, topology: Topology | None = None, scenario: AnyScenario | None = None) -> ProgramFunction:
        """The program of `scenario`, or of its own without values on `topology`."""
        function = self.strategy.program()
        given = scenario or replace(self, topology=topology or self.topology).scenario()
        return lambda run: function(run, given)


@dataclass(frozen=True)
class Size:
    """The workload of a toy: of generation (prompt, output) and of training (seq, steps), each with the batch."""

    batch: int = 2
    prompt_tokens: int = 9
    output_tokens: int = 36
    seq: int = 12
    steps: int = 2
    options: Mapping[str, str] = field(default_factory=dict)


USUAL = Size()
"""36 tokens: two groups of 16 are flushed, and the window of `tiny-gemma` leaves the prompt behind."""
SHORT = Size(batch=1, prompt_tokens=2, output_tokens=3, seq=4, steps=1)
"""For timelines that a person reads."""


def toy(strategy: str, shape: ModelShape, size: Size = USUAL, overrides: tuple[str, ...] = ()) -> Toy:
    """The strategy of a name, or of a user's file, on its own topology."""
    found = lookup(strategy)
    topology = load_topology(found.topology, overrides)
    request = RunSpec(
        strategy, shape.name, overrides=overrides, batch=size.batch, prompt_tokens=size.prompt_tokens,
        output_tokens=size.output_tokens, seq=size.seq, steps=size.steps, options=size.options,
    )  # fmt: skip
    return Toy(found, shape, topology, request)


def shapes(strategy: str) -> dict[str, ModelShape]:
    """Models by name that a strategy must be right with: one of each kind that its task knows.

    OPT: learned positions, biases, as many KV heads as heads. Llama: rotation, gated, grouped heads, a head of its own.
    Gemma (generation): windows, norms of q and k, norms behind both parts. Four KV heads each, so that tensor
    parallelism over four devices can cut them. DeepSeek where the strategy takes it: latents, experts of its own.
    """
    opt, llama = load_model("tiny-opt"), load_model("llama-2-7b")
    tiny_llama = replace(
        llama, name="tiny-llama", hidden=64, layers=3, heads=8, kv_heads=4, head_dim=8, intermediate=96, vocab=200,
        max_positions=160, attention_scale=8**-0.5,
    )  # fmt: skip
    tiny_gemma = replace(
        load_model("gemma-3-270m"), name="tiny-gemma", hidden=48, layers=3, heads=4, kv_heads=4, head_dim=16,
        intermediate=96, vocab=200, max_positions=160, embedding_scale=48**0.5, attention_scale=0.25,
        sliding_window=24, sliding_layers=(True, False, True),
    )  # fmt: skip
    entry = lookup(strategy)
    found = [opt, tiny_llama] if entry.task == TRAINING else [opt, tiny_llama, tiny_gemma]
    if "latents" in entry.takes:
        found.append(load_model("tiny-deepseek"))
    return {shape.name: shape for shape in found}
