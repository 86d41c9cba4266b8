"""How tokens are declared to fall on experts, where no value says it: the oracle of virtual time.

Balanced routing is what models are trained for (an auxiliary loss or a bias that follows the load). With a skew, the
load of the i-th expert falls as 1/i^skew.
Source: DeepSeek-V3, arXiv 2412.19437, section 2.1.2, for balance.
"""

from __future__ import annotations

from typing import Annotated

from controller.models.shape import ModelShape
from controller.program.options import Parsed, number_of


def _skew(text: str) -> float:
    value = number_of(text)
    if not 0.0 <= value <= 8.0:
        raise ValueError(text)
    return value


Skew = Annotated[float, Parsed(_skew, "a number from 0 to 8")]
"""Option of a strategy: the load of the i-th expert falls as 1/i^skew."""

_LARGEST_LOAD = 1_000_000


def declared_loads(shape: ModelShape, skew: float) -> tuple[int, ...]:
    """Load of each expert of a layer relative to the others; empty for even ones, and for models without experts."""
    if shape.experts is None or skew == 0.0:
        return ()
    return tuple(max(1, round(_LARGEST_LOAD / (expert + 1) ** skew)) for expert in range(shape.experts.count))


def routing_note(shape: ModelShape, loads: tuple[int, ...]) -> str:
    """What a run says about the oracle; "" for models without experts."""
    if shape.experts is None:
        return ""
    factor = shape.experts.capacity_factor
    bound = "none dropped"
    if factor:
        count = shape.experts.count
        shares = [load / sum(loads) for load in loads] or [1 / count] * count
        over = sum(max(0.0, share - factor / count) for share in shares)
        bound = f"an expert takes at most {factor:g} times its even share, {100 * over:.3g} % of the rows are dropped"
    many = f"{shape.experts.chosen} of {shape.experts.count} experts a token, {bound}"
    if not loads:
        return f"times assume balanced routing ({many}): rows of a pass are spread evenly over the experts"
    share = loads[0] / sum(loads)
    return f"times assume skewed routing ({many}): the first expert gets {100 * share:.3g} % of the rows of a pass"
