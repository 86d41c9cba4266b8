"""How many tokens a router gives each expert, as the user declares it: data alone would say.

``--oracle experts=balanced`` or ``--oracle experts=4,2,1,1``: shares of the experts in order. Programs count tokens by
``histc`` or ``bincount``; from there the numbers follow through sums, views and exchanges between ranks as any known
value does. Every rank routes alike.
"""

from __future__ import annotations

from typing import Any

import torch

COUNTS = ("aten.histc.default", "aten.bincount.default")
"""Operations that count."""


def counts_of(declared: str, experts: int, tokens: int) -> Any:
    """Tokens of each expert.

    Raises:
        ValueError: shares of another number of experts, or not numbers above or equal to 0.
    """
    shares = [1.0] * experts if declared == "balanced" else [float(text) for text in declared.split(",")]
    if len(shares) != experts or min(shares) < 0 or not sum(shares):
        raise ValueError(
            f"--oracle experts={declared}: the router counts {experts} experts; give 'balanced' or {experts} shares "
            f"of which none is below 0"
        )
    whole = sum(shares)
    ends = [round(tokens * sum(shares[: place + 1]) / whole) for place in range(experts)]
    return torch.tensor([after - before for before, after in zip([0, *ends[:-1]], ends, strict=True)])


def bins_of(func: Any, args: Any, kwargs: Any) -> int:
    """How many experts are counted; 0 where the call does not say."""
    place, name, default = (1, "bins", 100) if "histc" in str(func) else (2, "minlength", 0)
    return int(args[place] if len(args) > place else kwargs.get(name, default))
