"""Values of weights under canonical names, from a seed; `gguf_weights.py` brings those of a published model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

import numpy as np
import numpy.typing as npt

from controller.models.quantization import PACKED, stored
from controller.models.shape import ModelShape, weight_shapes
from node.hardware.packing import pack

Array = npt.NDArray[Any]

_SHARPNESS = 3.0  # of q and k: products of q and k have 81 times the variance of those of plain weights


class Weights(Protocol):
    """Where the values of a model come from.

    Attributes:
        shape: of the model; `controller.models.shape.weight_shapes` lists the names.
    """

    @property
    def shape(self) -> ModelShape:
        """Of the model."""

    def tensor(self, name: str) -> Array:
        """The weight of that canonical name, float32; linear weights are (outputs, inputs). Read only.

        Raises:
            KeyError: the model has no such weight.
        """


class SeededWeights:
    """Random weights that depend on the seed and on their name alone, in whatever order they are asked for.

    Linear weights keep the variance of their input. Embeddings are small beside what the layers add, and q and k large
    enough that attention prefers some tokens, so that the next token depends on the whole text: greedy decoding of
    weights of one scale falls into repeating one token, which would hide mistakes.
    """

    def __init__(self, shape: ModelShape, seed: int = 0) -> None:
        self._shape, self.seed = shape, seed
        self._extents = weight_shapes(shape)

    @property
    def shape(self) -> ModelShape:
        """Of the model."""
        return self._shape

    def tensor(self, name: str) -> Array:
        """The weight of that canonical name, float32.

        Raises:
            KeyError: the model has no such weight.
        """
        extents = self._extents[name]
        draw = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, crc32(name.encode())])))
        values = draw.standard_normal(extents, dtype=np.float32)
        if len(extents) > 1 and name.endswith(("weight", "embed", "head", "positions")):
            scale = float(extents[-1]) ** -0.5
            if name.endswith((".q.weight", ".k.weight")):
                scale *= _SHARPNESS
            if name == "embed":
                scale /= self._shape.embedding_scale
            return values * np.float32(scale)
        values *= np.float32(0.1)
        if "norm" in name and name.endswith("weight"):
            values += np.float32(1.0 - self._shape.norm_offset)
        return values


def weight_content(weights: Weights, name: str) -> Array:
    """The weight of a decoder's buffer: a canonical name, or the fused ``layers.{i}.qkv.*``, float32."""
    if ".qkv." in name:
        whole = np.concatenate([weights.tensor(name.replace(".qkv.", f".{part}.")) for part in ("q", "k", "v")])
    else:
        whole = weights.tensor(name)
    return packed_content(weights.shape, name, whole)


def packed_content(shape: ModelShape, name: str, whole: Array) -> Array:
    """A weight as it is stored: packed where the model keeps it in few bits, else as it is."""
    kind, _ = stored(shape.quantization, name, "fp32", whole.shape)
    if kind != PACKED:
        return whole
    assert shape.quantization is not None, "only quantised weights are packed"
    return pack(whole, shape.quantization.packed)


def open_weights(
    shape: ModelShape, seed: int = 0, progress: Callable[[str], None] | None = None, model: str = ""
) -> Weights:
    """The weights for a live run of `shape`: those of the checkpoint beside its configuration, the published ones where
    a package brings them, else from `seed`.

    Args:
        shape: of the model.
        seed: of random weights.
        progress: told what the first opening of a package, which takes most of a minute, is doing.
        model: what the user named; a folder with ``*.safetensors`` is a checkpoint.

    Raises:
        MissingExtra: published weights need packages that are not installed.
        PreflightFailed: no room for the converted copy, or a damaged one, or a damaged checkpoint.
        UnknownModel: a checkpoint of a family whose names are not known.
    """
    if model and Path(model).is_dir() and any(Path(model).glob("*.safetensors")):
        from controller.models.checkpoint_weights import CheckpointWeights

        return CheckpointWeights(shape, Path(model))
    from controller.models.gguf_weights import PACKAGED, GgufWeights

    if shape.name in PACKAGED:
        return GgufWeights(shape, progress)
    return SeededWeights(shape, seed)
