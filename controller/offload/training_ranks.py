"""One batch of a model in training on the ranks of a tensor-parallel group, each with its part of every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from controller.collectives.on_values import collective
from controller.collectives.software import Library
from controller.models.block import Block
from controller.models.ranks import Ranks, RankScript, weights_of_ranks
from controller.models.sharded_block import ShardedBlock
from controller.models.training.activations import activation_kinds
from controller.models.training.layer import LSE, Activations, backward, forward
from controller.models.training.layout import layer_layout
from controller.models.training.rank_parts import joined_parts, shape_of_rank, tensor_of_rank
from controller.models.training_scenario import TrainingScenario
from controller.offload.resident import ResidentModel
from controller.offload.train import Masters
from controller.offload.training_gpu import TrainingGpu
from controller.plan.ops import Buffer, View
from controller.plan.script import Script, Source, Value
from controller.plan.value import Place
from controller.program.run import Run
from node.hardware.operation import ITEM_BYTES


class TrainingRanks:
    """The passes of one batch over a group; a group of one is one GPU.

    Attributes:
        gpus: of the group, by rank; all of them have the batch.
        models: parameters, gradients and states of each.
    """

    def __init__(
        self, scenario: TrainingScenario, devices: Sequence[str], number: int = 0, *, gradient_scale: float = 1.0
    ) -> None:
        """Names everything.

        Args:
            scenario: of the run.
            devices: the ranks.
            number: of the batch among those of the run.
            gradient_scale: factor on every gradient, not on the loss.

        Raises:
            BadWorkload: a model that does not divide over this number of ranks.
        """
        count = len(devices)
        self._whole, self._shape = scenario.shape, shape_of_rank(scenario.shape, count)
        self.gpus = [TrainingGpu(scenario, device, number, gradient_scale=gradient_scale) for device in devices]
        self._library = Library(scenario.topology, devices)
        self._blocks: dict[int, ShardedBlock] = {}
        weights = scenario.weights
        self.models = [
            ResidentModel(
                scenario, device, self._shape, None if weights is None else tensor_of_rank(weights.tensor, rank, count)
            )
            for rank, device in enumerate(devices)
        ]

    def place(self, run: Run) -> None:
        """Parameters, gradients, states and tokens."""
        for model, gpu in zip(self.models, self.gpus, strict=True):
            model.place(run)
            for buffer in gpu.buffers:
                run.place(buffer, written=True)

    def kinds(self) -> tuple[str, ...]:
        """Activations that backward reads, the input aside. No gradient needs the output of a layer."""
        return (*(name for name in activation_kinds(self._whole) if name not in ("x", "ffn_down")), LSE)

    def on(self, s: Script) -> RankScript:
        """A script over all ranks, which the passes take."""
        return RankScript(s, [Place(gpu.device, "hbm") for gpu in self.gpus], self._summed)

    def embed(self, s: RankScript) -> Ranks:
        """The input of the first layer."""
        pairs = zip(self.gpus, self.models, strict=True)
        return Ranks([gpu.embed(s.inner, model.weights[0]) for gpu, model in pairs])

    def forward(self, s: RankScript, layer: int, x: Value) -> tuple[Value, Activations]:
        """The stream behind a layer, and the activations of the layer."""
        return forward(s, self._block(layer), x)

    def end(self, s: RankScript, x: Value) -> Ranks:
        """Loss of the batch, gradients of the head, and the gradient of `x`, which `backward` replaces."""
        found = []
        for gpu, model, own in zip(self.gpus, self.models, _values(x), strict=True):
            weights, gradients = model.weights, model.gradients
            found.append(gpu.end(s.inner, own, weights[-1], weights[0], gradients[-1], gradients[0]))
        return Ranks(found)

    def backward(self, s: RankScript, layer: int, there: Mapping[str, Source], gradient: Value) -> None:
        """A layer backwards, from ``x`` and what else is `there`."""
        filled = weights_of_ranks(self._tensors([model.gradients[layer + 1] for model in self.models]))
        backward(s, self._block(layer), there, gradient, filled)

    def embed_backward(self, s: RankScript, gradient: Value) -> None:
        """Completes the gradients of the embedding."""
        for gpu, model, own in zip(self.gpus, self.models, _values(gradient), strict=True):
            gpu.embed_backward(s.inner, own, model.gradients[0])

    def _summed(self, s: Script, partial: Sequence[Source]) -> Sequence[Source]:
        """The sum of what ranks have, on every rank, in its place; it costs a call of the library."""
        first = partial[0]
        assert isinstance(first, Value), "an op has made it"
        nbytes = prod(size for size in first.shape if isinstance(size, int)) * ITEM_BYTES[first.dtype]
        software = self._library.call("all_reduce", nbytes)
        return collective(s, "all_reduce", partial, in_place=True, software=software, label="sum of ranks")

    def masters(self) -> Masters:
        """Where the fp32 parameters lie."""
        joined = joined_parts(self._whole, len(self.gpus))
        return [([model.masters[index] for model in self.models], [part]) for index, part in enumerate(joined)]

    def _block(self, layer: int) -> ShardedBlock:
        """The block of a layer, of which forward and backward take the same."""
        if layer not in self._blocks:
            weights = self._tensors([model.weights[layer + 1] for model in self.models])
            self._blocks[layer] = ShardedBlock.of([Block(self._shape, layer, own) for own in weights])
        return self._blocks[layer]

    def _tensors(self, flats: Sequence[Buffer]) -> list[dict[str, View]]:
        """Tensors of a layer, by rank."""
        layout = layer_layout(self._shape)
        return [layout.tensors(flat) for flat in flats]


def _values(ranks: Value) -> Sequence[Value]:
    assert isinstance(ranks, Ranks), "every rank has one"
    return ranks.values
