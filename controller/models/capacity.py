"""The capacity of experts that a user asks for in place of what a configuration says."""

from __future__ import annotations

from dataclasses import replace

from controller.errors import BadWorkload
from controller.models.limits import MOST_CAPACITY_FACTOR
from controller.models.shape import ModelShape


def with_capacity(shape: ModelShape, asked: str | None) -> ModelShape:
    """The shape whose experts take at most `asked` times their even share of a pass; None keeps what it has.

    Args:
        shape: of the model.
        asked: a factor, or ``none`` for experts that take every token.

    Raises:
        BadWorkload: no factor, or a model without experts.
    """
    if asked is None:
        return shape
    try:
        factor = 0.0 if asked == "none" else float(asked)
    except ValueError:
        factor = -1.0
    if asked != "none" and not 0 < factor <= MOST_CAPACITY_FACTOR:
        raise BadWorkload(
            f"--expert-capacity {asked!r}: expected a number above 0 and at most {MOST_CAPACITY_FACTOR:,.0f}; write "
            "1.25 for a quarter more than the even share of an expert, or none to drop nothing"
        )
    if shape.experts is None:
        raise BadWorkload(
            f"--expert-capacity {asked}: {shape.name} has no experts; remove --expert-capacity, or choose a --model "
            "with experts"
        )
    return replace(shape, experts=replace(shape.experts, capacity_factor=factor))
