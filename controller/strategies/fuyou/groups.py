"""What one Adam step on the CPU takes: sub-groups of neighbouring parts, in the order of the backward pass.

Parts of the model are joined while they fit into a sub-group; a part that is larger is a sub-group of its own. The
optimizer states of a sub-group are one flat tensor: parameters, then first, then second moments.

Source: the authors' code (sub-groups of 700 M elements, descending). That a block is never cut is assumed; it is what
makes main memory of 128 GB end at about 70B, as published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.models.training import Part
from controller.plan.build import Operand, as_view
from controller.plan.ops import View
from node.hardware.operation import ITEM_BYTES

SUB_GROUP_ELEMENTS = 700_000_000
"""Elements of a sub-group that is more than one part, at most."""


@dataclass(frozen=True, slots=True)
class SubGroup:
    """What one Adam step takes.

    Attributes:
        index: 0 for the first of the backward pass.
        offsets: index of each part, in the order of its gradients, to its first element in the flat tensors.
        elements: of all parts.
    """

    index: int
    offsets: dict[int, int]
    elements: int

    def of(self, part: int, count: int, flat: Operand) -> View:
        """The `count` elements of a part within a flat tensor of the sub-group."""
        return elements(flat, self.offsets[part], count)

    def states(self, flat: Operand) -> tuple[View, View, View]:
        """Parameters and both moments within the flat tensor of the optimizer states."""
        count = self.elements
        first, second, third = (elements(flat, place * count, count) for place in range(3))
        return first, second, third


def elements(flat: Operand, start: int, count: int) -> View:
    """`count` elements of a flat operand from element `start`."""
    view = as_view(flat)
    return View(view.buffer, view.offset_bytes + start * ITEM_BYTES[view.buffer.dtype], (count,))


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
        SubGroup(index, offsets, size) for index, (offsets, size) in enumerate(zip(groups, sizes, strict=True))
    )
