"""What kernels of a program's own take, as the program says itself.

    import windtunnel

    @windtunnel.kernel_cost("mine::swish")        # of a custom operation, or the name of a Triton kernel's function
    def swish(x):                                 # called with the arguments of the call; tensors have shapes alone
        return windtunnel.KernelWork(flop=4 * x.numel(), reads=x.nbytes, writes=x.nbytes)

Where the program runs on GPUs, this does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

UNITS = ("vector", "tensor")
Rule = TypeVar("Rule", bound=Callable[..., "KernelWork"])
_RULES: dict[str, Callable[..., KernelWork]] = {}


@dataclass(frozen=True, slots=True)
class KernelWork:
    """What one launch does; it takes the longer of its arithmetic and its bytes.

    Attributes:
        flop: floating-point operations [FLOP].
        reads, writes: of the memory of the device [bytes].
        dtype: that the arithmetic runs in, as sheets name it.
        unit: that it runs on, ``vector`` or ``tensor``.
        peak_ratio: share of the unit's peak that the kernel reaches.
    """

    flop: float = 0.0
    reads: int = 0
    writes: int = 0
    dtype: str = "fp32"
    unit: str = "vector"
    peak_ratio: float = 1.0

    def __post_init__(self) -> None:
        if min(self.flop, self.reads, self.writes) < 0 or not 0.0 < self.peak_ratio <= 1.0 or self.unit not in UNITS:
            raise ValueError(
                f"{self}: flop, reads and writes are not below 0, peak_ratio is above 0 and at most 1, and unit is "
                f"one of {', '.join(UNITS)}"
            )


def kernel_cost(name: str) -> Callable[[Rule], Rule]:
    """Declares what an operation (``mine::swish``) or a Triton kernel (the name of its function) takes."""

    def declare(rule: Rule) -> Rule:
        _RULES[name.replace("::", ".")] = rule
        return rule

    return declare


def declared_work(name: str, args: Any, kwargs: Any) -> KernelWork | None:
    """What was declared for a call, by its name with or without an overload; None where nothing was."""
    rule = _RULES.get(name) or _RULES.get(".".join(name.split(".")[:2]))
    return None if rule is None else rule(*args, **kwargs)


def advice(name: str) -> str:
    """How to declare it."""
    return f'say what it takes with @windtunnel.kernel_cost("{name}"); windtunnel help torch'
