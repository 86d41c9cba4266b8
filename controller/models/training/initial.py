"""Weights that training starts from, and tokens to train on, both from a seed."""

from __future__ import annotations

from math import sqrt
from zlib import crc32

import numpy as np
import numpy.typing as npt

from controller.models.shape import ModelShape, weight_shapes
from controller.models.weights import Array

_DEVIATION = 0.02


class InitialWeights:
    """Matrices and tables normally distributed, biases 0, norms 1; what adds to the residual stream smaller.

    Not the random weights of decoding (`SeededWeights`), whose sharp attention turns the last bits of a sum into
    different values within a few steps, so that no two ways of adding would train to the same parameters.
    Source: Radford et al. 2019 (GPT-2), section 2.3, and the released model's deviation of 0.02.
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
        extents, shape = self._extents[name], self._shape
        if len(extents) == 1:
            is_norm = "norm" in name and name.endswith("weight")
            return np.full(extents, 1.0 - shape.norm_offset if is_norm else 0.0, np.float32)
        draw = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, crc32(name.encode())])))
        deviation = _DEVIATION
        if name.endswith((".o.weight", ".down.weight")):
            deviation /= sqrt(2 * shape.layers)
        return draw.standard_normal(extents, dtype=np.float32) * np.float32(deviation)


def draw_tokens(shape: ModelShape, steps: int, gpus: int, batch: int, seq: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Token ids (steps, gpus, batch, seq + 1): few ids often and many rarely, so that there is something to learn."""
    drawn = np.random.default_rng(seed).random((steps, gpus, batch, seq + 1))
    return np.minimum(shape.vocab * drawn**3, shape.vocab - 1).astype(np.int64)
