"""A mini-batch on its way through the GPUs that share a model's layers; with one GPU nothing but its stage.

Layers are spread over the GPUs in order. The residual stream hops from GPU to GPU where a range of layers ends; the
token ids start at the first and the logits come out of the last.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.models.stage import Stage
from controller.plan.build import Operand, PlanBuilder
from controller.plan.ops import Buffer, View
from controller.plan.size import Size


class Lane:
    """One mini-batch in one phase.

    Attributes:
        stages: (layers, stage) for each GPU, in the order of the layers.
        rows: sequences.
        tokens: of a prompt; None in decode.
    """

    def __init__(self, stages: Sequence[tuple[range, Stage]]) -> None:
        self.stages = tuple(stages)
        self.rows, self.tokens = stages[0][1].rows, stages[0][1].tokens

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """Everything that must be placed before the first fragment."""
        return tuple(buffer for _, stage in self.stages for buffer in stage.buffers)

    def at(self, layer: int) -> Stage:
        """The stage of the GPU that has `layer`."""
        return next(stage for layers, stage in self.stages if layer in layers)

    def embed(self, build: PlanBuilder, ids: Operand, position: Size = 0) -> None:
        """Token ids to the residual stream of the first GPU."""
        self.stages[0][1].embed(build, ids, position)

    def attention_inputs(self, build: PlanBuilder, layer: int, position: Size = 0) -> tuple[View, View, View]:
        """See `Stage.attention_inputs`; brings the residual stream over when `layer` is the first on its GPU."""
        for (_, before), (layers, stage) in zip(self.stages, self.stages[1:], strict=False):
            if layer == layers.start:
                build.transfer(before.x, stage.x, label="next gpu")
        return self.at(layer).attention_inputs(build, layer, position)

    def finish_layer(self, build: PlanBuilder, layer: int, attn: Operand) -> None:
        """Output projection and feed-forward of a layer."""
        self.at(layer).attention_output(build, layer, attn)
        self.at(layer).feed_forward(build, layer)

    @property
    def last(self) -> Stage:
        """The stage of the last GPU, which gives the logits."""
        return self.stages[-1][1]
