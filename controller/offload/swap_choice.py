"""Which activations to swap: the cost model and the search of the paper, a pure function.

It only chooses. What a step takes comes from executing the plan.

Paper: LoHan / Ratel, the later versions of Fuyou, section IV-D.
Follows: equations 1 to 5 and algorithm 1. Activations are sorted by offloading benefit, work of making them again over
bytes, and swapped from the top until the predicted time of an iteration stops falling; it is convex in the volume. The
inputs of the blocks are always swapped.
Differs: volumes grow by one kind of one layer at a time. Kinds that the GPU has no room to hold beside everything else
are no candidates, and kinds without which it has no room are always swapped: the paper does not say how it does this.
Checked by: tests/unit/controller/offload/test_swap_choice.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rates:
    """What the hardware gives.

    Attributes:
        gpu_flop_per_s: THP_G [FLOP/s].
        link_bytes_per_s: BW_G, GPU to main memory, each direction [bytes/s].
        read_bytes_per_s: BW_S2M, the drives together [bytes/s].
        write_bytes_per_s: BW_M2S [bytes/s]; read and write time of the drives add up.
    """

    gpu_flop_per_s: float
    link_bytes_per_s: float
    read_bytes_per_s: float
    write_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Work:
    """What a step has to do on each GPU.

    Attributes:
        forward_flop: FLOP_f [FLOP].
        parameter_count: P.
        gpu_count: GPUs that share drives and main memory.
    """

    forward_flop: float
    parameter_count: int
    gpu_count: int = 1


@dataclass(frozen=True, slots=True)
class SwapCandidate:
    """One kind of activation of every layer, in the order of offloading benefit.

    Attributes:
        names: of the activations that come with it (``attention`` brings ``lse``).
        nbytes: of one layer [bytes].
        saved_flop: work that one layer need not do again once this kind and all before it are swapped [FLOP].
    """

    names: tuple[str, ...]
    nbytes: int
    saved_flop: float


@dataclass(frozen=True, slots=True)
class StepPrediction:
    """Equations 1 to 3 for one volume [s]."""

    forward_s: float
    backward_s: float

    @property
    def iteration_s(self) -> float:
        """T_iter [s]."""
        return self.forward_s + self.backward_s


@dataclass(frozen=True, slots=True)
class Choice:
    """What to swap.

    Attributes:
        kinds: for each layer how many of the candidates, from the front, are swapped.
        swapped_bytes: A on each GPU, the inputs of the blocks included [bytes].
        recompute_flop: FLOP_r on each GPU [FLOP].
        predicted: time by the equations.
    """

    kinds: tuple[int, ...]
    swapped_bytes: int
    recompute_flop: float
    predicted: StepPrediction


def predict(rates: Rates, work: Work, swapped_bytes: int, recompute_flop: float, memory_bytes: int) -> StepPrediction:
    """Equations 1 to 5.

    Args:
        rates: of the hardware.
        work: of the step.
        swapped_bytes: A of each GPU [bytes].
        recompute_flop: FLOP_r of each GPU [FLOP].
        memory_bytes: MEM_avail, main memory that activations may take [bytes].
    """
    weights = 2 * work.parameter_count
    # What main memory cannot hold goes on to the drives.
    spilled = max(0, work.gpu_count * swapped_bytes - memory_bytes)
    forward = max(
        work.forward_flop / rates.gpu_flop_per_s,
        swapped_bytes / rates.link_bytes_per_s,
        weights / rates.link_bytes_per_s,
        weights / rates.read_bytes_per_s + spilled / rates.write_bytes_per_s,
    )
    backward = max(
        (2 * work.forward_flop + recompute_flop) / rates.gpu_flop_per_s,
        weights / rates.link_bytes_per_s,
        (weights + swapped_bytes) / rates.link_bytes_per_s,
        (7 * weights + spilled) / rates.read_bytes_per_s + 7 * weights / rates.write_bytes_per_s,
    )
    return StepPrediction(forward, backward)


def choose(
    rates: Rates,
    work: Work,
    candidates: Sequence[SwapCandidate],
    *,
    layers: int,
    between_bytes: int,
    recompute_flop: float,
    memory_bytes: int,
    least: int = 0,
    volume_bytes: int | None = None,
    limit_bytes: int | None = None,
) -> Choice:
    """Algorithm 1.

    Args:
        rates: of the hardware.
        work: of the step.
        candidates: in the order of offloading benefit.
        layers: of the model.
        between_bytes: input of one block on one GPU, which is always swapped [bytes].
        recompute_flop: work of one layer when nothing else is swapped [FLOP].
        memory_bytes: MEM_avail [bytes].
        least: candidates that every layer swaps in any case.
        volume_bytes: swap from the top until this volume instead of searching; None to search.
        limit_bytes: most that may be swapped, where nothing goes on to the drives; None for no limit [bytes].
    """
    front = candidates[:least]
    swapped = layers * (between_bytes + sum(kind.nbytes for kind in front))
    again = layers * (recompute_flop - sum(kind.saved_flop for kind in front))
    kinds = [least] * layers
    best = predict(rates, work, swapped, again, memory_bytes)
    for number, kind in enumerate(candidates[least:], least + 1):
        # Backwards: what is swapped last comes back first.
        for layer in reversed(range(layers)):
            more, left = swapped + kind.nbytes, again - kind.saved_flop
            then = predict(rates, work, more, left, memory_bytes)
            stops = then.iteration_s >= best.iteration_s if volume_bytes is None else more > volume_bytes
            if stops or (limit_bytes is not None and work.gpu_count * more > limit_bytes):
                return Choice(tuple(kinds), swapped, again, best)
            kinds[layer], swapped, again, best = number, more, left, then
    return Choice(tuple(kinds), swapped, again, best)
