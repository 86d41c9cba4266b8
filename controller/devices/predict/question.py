"""What a question is, what an answer is, and how a kernel is put to the device models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from controller.errors import BadQuestion
from node.errors import UnknownTier, Unsupported
from node.hardware.cost import kernel_cost
from node.hardware.device import DeviceSpec
from node.hardware.launch import graph_start_s
from node.hardware.operation import ITEM_BYTES, Demand
from node.hardware.peak import choose_unit, peak_flop_per_s

MOST = 10**15
"""Largest size that is answered, a petabyte if it is bytes; products of a few of them still fit into a float."""

Value = int | str
Sizes = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Column:
    """One size of a question.

    Attributes:
        name: as in data sets.
        meaning: for help texts.
        default: None when it must be given.
        least, most: smallest and largest number allowed.
        choices: for a word, which; empty for a number.
        word: any word.
        short: other names that the command line takes.
    """

    name: str
    meaning: str
    default: Value | None = None
    least: int = 1
    choices: tuple[str, ...] = ()
    word: bool = False
    short: tuple[str, ...] = ()
    most: int = MOST


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one op takes alone.

    Attributes:
        time_s: from its start on the device to its end [s].
        bound: what sets it: ``compute``, a tier, ``power``, ``floor``, a port, ...
        parts: seconds of every bound, and ``start`` [s].
        flop: arithmetic of the op [FLOP].
        dtype: that the arithmetic runs in; empty when there is none.
        moved_bytes: least that must cross the boundary of the device's memory [bytes].
        peak_flop_per_s: what the unit that runs it could do at most in that type; 0 when there is no arithmetic.
    """

    time_s: float
    bound: str
    parts: Mapping[str, float]
    flop: float = 0.0
    dtype: str = ""
    moved_bytes: float = 0.0
    peak_flop_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Question:
    """One row of the table.

    Attributes:
        name: on the command line and in file names.
        summary: one line for people.
        columns: its sizes.
        ask: (device, dtype, sizes) -> Prediction.
        dtype: unless another is asked for.
    """

    name: str
    summary: str
    columns: tuple[Column, ...]
    ask: Callable[[DeviceSpec, str, Sizes], Prediction]
    dtype: str = "bf16"

    def answer(self, spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
        """What the op takes on `spec` with elements of `dtype`; `sizes` are complete.

        Raises:
            BadQuestion: no such dtype, or `spec` cannot run the op.
        """
        if dtype not in ITEM_BYTES:
            raise BadQuestion(f"dtype is {dtype!r}; one of {', '.join(ITEM_BYTES)}")
        try:
            return self.ask(spec, dtype, sizes)
        except (Unsupported, UnknownTier) as error:
            raise BadQuestion(str(error)) from None

    def complete(self, given: Mapping[str, Value | None]) -> dict[str, Value]:
        """`given` with defaults, checked.

        Raises:
            BadQuestion: a size is missing, too small or no choice.
        """
        sizes: dict[str, Value] = {}
        for column in self.columns:
            value = given.get(column.name)
            if value is None or value == "":
                value = column.default
            if value is None:
                raise BadQuestion(f"{self.name} needs {column.name} ({column.meaning})")
            if column.choices:
                if value not in column.choices:
                    raise BadQuestion(f"{column.name} is {value!r}; one of {', '.join(column.choices)}")
            elif not column.word and (not isinstance(value, int) or value < column.least):
                raise BadQuestion(f"{column.name} is {value!r}; a whole number of at least {column.least}")
            elif isinstance(value, int) and value > column.most:
                text = str(value)
                shown = text if len(text) <= 24 else f"{text[:12]}..., of {len(text)} digits"
                raise BadQuestion(f"{column.name} is {shown}; a whole number of at most {column.most}")
            sizes[column.name] = value
        return sizes


def ask_kernel(spec: DeviceSpec, demand: Demand, tier: str = "") -> Prediction:
    """What `demand` takes with every operand in one tier of `spec`; the first unless said."""
    tier = tier or next(iter(spec.tiers), "")
    if not tier:
        raise BadQuestion(f"{spec.product} ({spec.kind}) has no memory, so it runs no kernel; ask about another device")
    cost = kernel_cost(spec, demand, (tier,) * len(demand.reads), (tier,) * len(demand.writes))
    queue = spec.compute_queue
    # What attention begins with, lengths and tables, is written by the kernel before.
    early = not ("attention" in demand.family or "latent" in demand.family)
    start_s = cost.latency_s - (queue.launch_s if queue is not None else 0.0) + graph_start_s(spec, early)
    parts = {"start": start_s, **cost.parts}
    bound = "start" if start_s > cost.time_s else cost.bound
    moved = float(sum(demand.reads) + sum(demand.writes))
    peak = peak_flop_per_s(choose_unit(spec, demand.unit), demand.dtype, spec.product) if demand.flop else 0.0
    return Prediction(start_s + cost.time_s, bound, parts, demand.flop, demand.dtype, moved, peak)


def one_after_the_other(first: Prediction, second: Prediction) -> Prediction:
    """Two kernels of which the second needs the first; arithmetic, type and peak are those of the second."""
    parts = dict(second.parts)
    for name, seconds in first.parts.items():
        parts[name] = parts.get(name, 0.0) + seconds
    return replace(
        second,
        time_s=first.time_s + second.time_s,
        bound=second.bound if second.time_s >= first.time_s else first.bound,
        parts=parts,
        moved_bytes=first.moved_bytes + second.moved_bytes,
    )


def number(sizes: Sizes, name: str) -> int:
    """The size `name`, which is a number."""
    return int(sizes[name])
