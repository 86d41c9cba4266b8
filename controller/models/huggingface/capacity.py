"""Keys that bound the tokens of an expert, as mixtures that drop what is beyond have them."""

from __future__ import annotations

from dataclasses import replace

from controller.models.huggingface.keys import Config
from controller.models.limits import MOST_CAPACITY_FACTOR
from controller.models.shape import ModelShape

FACTORS = (
    "expert_capacity_factor", "moe_expert_capacity_factor", "moe_capacity_factor", "capacity_factor",
    "moe_eval_capacity_factor", "capacity_factor_eval",
)  # fmt: skip
"""Keys of the factor; that of evaluation holds, not that of training."""
SWITCHES = ("drop_tokens", "moe_drop_tokens", "moe_token_dropping")
"""Keys that say whether anything is dropped; a factor without one of them drops."""


def read_capacity(config: Config, shape: ModelShape) -> ModelShape:
    """The shape with the capacity that its configuration gives to experts; as it is without experts.

    Raises:
        UnknownModel: a factor that is no positive number, factors that differ, a switch that is no switch.
    """
    if shape.experts is None:
        return shape
    found: dict[str, float] = {}
    drops = True
    for each in (config, *config.nested):
        drops = drops and all(each.flag(key, True) for key in SWITCHES)
        for key in FACTORS:
            value = each.optional(key)
            if value is None:
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < value <= MOST_CAPACITY_FACTOR:
                raise config.refuse(
                    f"{key!r} is {value!r}, expected a number above 0 and at most {MOST_CAPACITY_FACTOR:,.0f}; "
                    "write null where experts take every token"
                )
            found[key] = float(value)
    if len(set(found.values())) > 1:
        said = " and ".join(f"{key!r} is {value:g}" for key, value in found.items())
        raise config.refuse(f"{said}, which contradict each other; remove all but one")
    if not found or not drops:
        return shape
    return replace(shape, experts=replace(shape.experts, capacity_factor=next(iter(found.values()))))
