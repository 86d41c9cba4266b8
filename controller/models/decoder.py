"""A decoder model on one device: which weights lie there and under which names.

decoder = Decoder(shape, "gpu", dtype="fp16")
for buffer in decoder.weights.values():
    run.place(buffer, ...)
x = embed(s, shape, decoder.weights, ids)                           # `controller.models.block`
for layer in decoder.layers:
    q, k, v = decoder.block(layer).qkv(s, x, position)
    ...                                                             # the strategy's part: attention of q, k, v
    x = decoder.block(layer).finish(s, x, attention)
"""

from __future__ import annotations

from controller.models.block import Block
from controller.models.quantization import stored
from controller.models.shape import ModelShape, weight_shapes
from controller.plan.ops import Buffer
from controller.plan.value import Place


class Decoder:
    """Weight buffers of a range of layers on one device.

    Attributes:
        shape: of the whole model.
        device, tier: where the weights are.
        dtype: element type of weights and activations.
        layers: numbers of the layers that are here. The first of the model brings the embedding with it, the last one
            the final norm and the head.
        loads: declared share of each expert; empty for even ones.
        weights: canonical name to buffer, in the order in which a forward pass reads them. Those of layers are in
            `layers_in` where that is given; a block reads them after `fetched_blocks` brought them.
        dropped: number of each layer whose experts have a capacity to the count of choices that found no room.
    """

    def __init__(
        self,
        shape: ModelShape,
        device: str,
        tier: str = "hbm",
        *,
        dtype: str = "fp16",
        layers: range | None = None,
        loads: tuple[int, ...] = (),
        layers_in: Place | None = None,
    ) -> None:
        self.shape, self.device, self.tier, self.dtype = shape, device, tier, dtype
        self.layers = range(shape.layers) if layers is None else layers
        self.loads = loads
        here = Place(device, tier)
        self.weights: dict[str, Buffer] = {}
        for name, extents in self._names().items():
            place = layers_in or here if name.startswith("layers.") else here
            kind = stored(shape.quantization, name, dtype, extents)
            self.weights[name] = Buffer(place.device, place.tier, f"weights.{name}", *kind)
        experts = shape.experts
        self.dropped = {
            layer: Buffer(device, tier, f"dropped.{layer}", "int64", (1,))
            for layer in self.layers if experts and experts.capacity_factor and experts.of_layer(layer)
        }  # fmt: skip
        self._blocks: dict[int, Block] = {}

    @property
    def weight_bytes(self) -> int:
        """Size of the weights on the device itself [bytes]."""
        return sum(buffer.nbytes for buffer in self.weights.values() if buffer.device == self.device)

    def block(self, layer: int) -> Block:
        """The block of a layer that is here."""
        if layer not in self._blocks:
            prefix = f"layers.{layer}."
            weights = {
                name.removeprefix(prefix): buffer for name, buffer in self.weights.items() if name.startswith(prefix)
            }
            self._blocks[layer] = Block(self.shape, layer, weights, self.loads, self.dtype, self.dropped.get(layer))
        return self._blocks[layer]

    def _names(self) -> dict[str, tuple[int, ...]]:
        everything = weight_shapes(self.shape)
        first, last = 0 in self.layers, self.shape.layers - 1 in self.layers
        wanted: dict[str, tuple[int, ...]] = {}
        for name, extents in everything.items():
            part, _, rest = name.partition(".")
            if part == "layers":
                if int(rest.partition(".")[0]) in self.layers:
                    wanted[name] = extents
            elif part == "embed":
                if first or (last and self.shape.tie_word_embeddings):
                    wanted[name] = extents
            elif first if part == "positions" else last:
                wanted[name] = extents
        return wanted
