"""What one Adam step on the CPU takes: sub-groups of neighbouring parts, in the order of the backward pass.

Parts of the model are joined while they fit into a sub-group; a part that is larger is a sub-group of its own. The
optimizer states of a sub-group are one flat tensor: parameters, then first, then second moments.

Source: the authors' code of Fuyou (sub-groups of 700 M elements, descending). That a block is never cut is assumed; it
is what makes main memory of 128 GB end at about 70B, as published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.models.training import ADAM, Part
from controller.models.weights import Weights
from controller.offload.striped import elements
from controller.plan.build import Operand
from controller.plan.ops import View
from controller.plan.script import Script
from controller.plan.size import symbol
from controller.program.run import Array, Content

SUB_GROUP_ELEMENTS = 700_000_000
"""Elements of a sub-group that is more than one part, at most."""


@dataclass(frozen=True, slots=True)
class SubGroup:
    """What one Adam step takes.

    Attributes:
        index: 0 for the first of the backward pass.
        parts: by their number in the model, in the order of their gradients.
        offsets: number of each part to its first element in the flat tensors.
        elements: of all parts.
    """

    index: int
    parts: dict[int, Part]
    offsets: dict[int, int]
    elements: int

    def of(self, part: int, flat: Operand) -> View:
        """The elements of a part within a flat tensor of the sub-group."""
        return elements(flat, self.offsets[part], self.parts[part].layout.elements)

    def adam(self, s: Script, states: Operand, gradients: Operand, new: Operand) -> None:
        """One Adam step; the number of the step stays open.

        Args:
            s: takes the op.
            states: parameters and both moments, fp32 (3 * elements), replaced.
            gradients: of the parameters (elements).
            new: where the parameters go in the type of the model (elements).
        """
        count = self.elements
        p32, momentum, variance = (elements(states, place * count, count) for place in range(3))
        s.op(
            "adam", p32, gradients, momentum, variance, out=(p32, momentum, variance, new),
            **ADAM.attributes(symbol("step")),
        )  # fmt: skip

    def first_states(self, weights: Weights | None) -> Content:
        """States before the first step: the weights, and moments of zero; None without values."""
        return content(list(self.parts.values()), weights, 2 * self.elements)


def content(parts: Sequence[Part], weights: Weights | None, zeros: int = 0) -> Content:
    """Values of some parts one after the other, with `zeros` behind; None without values."""
    if weights is None:
        return None

    def make() -> Array:
        return np.concatenate([*(part.content(weights.tensor) for part in parts), np.zeros(zeros, np.float32)])

    return make


def sub_groups(parts: Sequence[Part], limit: int = SUB_GROUP_ELEMENTS) -> tuple[SubGroup, ...]:
    """The sub-groups of a model.

    Args:
        parts: in the order of a forward pass.
        limit: elements of a sub-group of more than one part, at most.
    """
    groups: list[dict[int, int]] = []
    sizes: list[int] = []
    for index in reversed(range(len(parts))):
        count = parts[index].layout.elements
        if not groups or sizes[-1] + count > limit:
            groups.append({})
            sizes.append(0)
        groups[-1][index] = sizes[-1]
        sizes[-1] += count
    return tuple(
        SubGroup(index, {part: parts[part] for part in offsets}, offsets, size)
        for index, (offsets, size) in enumerate(zip(groups, sizes, strict=True))
    )
