"""Fuyou's tables of the largest model that can be trained, for `controller/reproduce/fuyou.py`.

A size is the largest of the ladder whose buffers fit. It counts whether that is within one size of the published one,
which stands as read off the figure; the nearest size of the ladder is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from controller.experiment.run_spec import RunSpec
from controller.reproduce.largest import largest_model
from controller.reproduce.rows import PublishedRow, Results, Value

EFFICIENCY = 1.15
"""Rate of the drives over their data sheet; calibrated on 13B, batch 32, two drives (64.3 TFLOPS)."""

KNOB = f"options.ssd_array.efficiency={EFFICIENCY}"
SEQ = 1024
"""Tokens of a sequence in every row."""

LADDER = (
    "gpt2-xl", "gpt-6b", "gpt-13b", "gpt-30b", "gpt-70b", "gpt-135b", "gpt-175b", "gpt-276b", "gpt-412b",
)  # fmt: skip
"""Models of table IV in ascending order, and before them the nearest to FlashNeuron's 1.55B."""
BILLIONS = (1.55, 6.0, 13.0, 30.0, 70.0, 135.0, 175.0, 276.0, 412.0)
"""What the paper calls them."""

MEMORY_GB = (128, 256, 384, 512, 640, 768)
LARGEST: Mapping[str, Sequence[float]] = {
    "flashneuron": (1.55,) * 6,
    "colossalai": (13, 30, 30, 30, 30, 30),
    "zero_infinity": (7, 30, 30, 70, 70, 135),
    "fuyou": (70, 276, 276, 276, 276, 276),
}
"""Largest model at batch 1 by main memory (R figures 2a and 6)."""
SPILL: Mapping[tuple[str, int], Sequence[float]] = {
    ("off", 128): (65, 30, 13, 6),
    ("on", 128): (135, 135, 65, 13),
    ("off", 256): (135, 30, 30, 13),
    ("on", 256): (276, 135, 135, 13),
}
"""Largest model by whether activations go on to the drives, and by main memory (R figure 8)."""
SPILL_BATCHES = (12, 24, 36, 60)

Ours = Callable[[Results], Value]
FAR_IN_SIZES = "models come in sizes that step by up to 2.3 times, and these are one size off"
FAR_IN_BATCHES = (
    "models come in sizes that step by up to 2.3 times, and ours go one or two further at large batches: what a "
    "framework holds on the GPU beside tensors is not modelled"
)


def request(strategy: str, model: str, batch: int, *overrides: str, **options: str) -> RunSpec:
    """A run with the knob where it was set."""
    knob = (KNOB,) if strategy != "flashneuron" else ()
    return RunSpec(strategy, model, overrides=(*knob, *overrides), batch=batch, seq=SEQ, options=options)


@lru_cache(maxsize=256)
def _place(strategy: str, memory_gb: int, batch: int, spill: str, gpu: str) -> int:
    """Index in the ladder of the largest model that fits; -1 when none does."""
    overrides = (f"cpu.dram.capacity={memory_gb} GiB", f"gpu.product={gpu}")
    options = {"spill": spill} if strategy == "fuyou" else {}
    found = largest_model(request(strategy, LADDER[0], batch, *overrides, **options), LADDER)
    return -1 if found is None else LADDER.index(found)


def _size(strategy: str, memory_gb: int, batch: int = 1, spill: str = "on", gpu: str = "rtx_4090") -> Ours:
    """Billions of parameters of the largest model that fits; 0 when none does."""

    def ours(_: Results) -> Value:
        place = _place(strategy, memory_gb, batch, spill, gpu)
        return 0.0 if place < 0 else BILLIONS[place]

    return ours


def _nearest(billions: float) -> int:
    """Index in the ladder of the size that is meant."""
    return min(range(len(BILLIONS)), key=lambda place: abs(BILLIONS[place] - billions))


def _agreement(pairs: Sequence[tuple[str, float, Ours]]) -> Ours:
    """Whether every one of (name, published, ours) is within one size of the ladder, or which are not."""

    def ours(results: Results) -> Value:
        far: list[str] = []
        for name, published, value in pairs:
            found = value(results)
            place = BILLIONS.index(float(found)) if found else -1
            steps = abs(place - _nearest(published))
            if steps > 1:
                far.append(f"{name}: {steps} sizes off")
        return "within one size" if not far else ", ".join(far)

    return ours


def _agreement_row(
    table: str, row: dict[str, str | int | float], pairs: Sequence[tuple[str, float, Ours]]
) -> PublishedRow:
    return PublishedRow(table, row, "agreement", "within one size", "", "PF", _agreement(pairs), (), 0.0)


def largest_rows() -> list[PublishedRow]:
    """By main memory, at batch 1."""
    rows: list[PublishedRow] = []
    for system, sizes in LARGEST.items():
        pairs = [(f"{gb} GB", size, _size(system, gb)) for gb, size in zip(MEMORY_GB, sizes, strict=True)]
        for gb, (_, size, ours) in zip(MEMORY_GB, pairs, strict=True):
            rows.append(
                PublishedRow(
                    "largest_model", {"system": system, "memory_gb": gb}, "parameters", size, "billion", "PF", ours,
                    (), why=FAR_IN_SIZES,
                )
            )  # fmt: skip
        rows.append(_agreement_row("largest_model", {"system": system}, pairs))
    rows.append(
        PublishedRow(
            "largest_model", {"system": "fuyou", "memory_gb": 256, "gpu": "rtx_4080"}, "parameters", 175.0, "billion",
            "P", _size("fuyou", 256, gpu="rtx_4080"), (), 0.01,
        )
    )  # fmt: skip
    rows.append(
        PublishedRow(
            "largest_model", {"system": "fuyou", "memory_gb": 768, "gpu": "rtx_3090"}, "parameters", 276.0, "billion",
            "PF", _size("fuyou", 768, gpu="rtx_3090"), (), 0.01,
        )
    )  # fmt: skip
    mine, theirs = _size("fuyou", 768), _size("zero_infinity", 768)
    rows.append(
        PublishedRow(
            "largest_model", {"system": "fuyou", "over": "zero_infinity"}, "parameter_ratio", 2.04, "x", "P",
            lambda results: _quotient(mine(results), theirs(results)), (),
        )
    )  # fmt: skip
    return rows


def spill_rows() -> list[PublishedRow]:
    """With and without activations on the drives."""
    rows: list[PublishedRow] = []
    for (spill, gb), sizes in SPILL.items():
        to = "drives" if spill == "on" else "memory_alone"
        pairs = [
            (f"batch {batch}", size, _size("fuyou", gb, batch, spill))
            for batch, size in zip(SPILL_BATCHES, sizes, strict=True)
        ]
        for batch, (_, size, ours) in zip(SPILL_BATCHES, pairs, strict=True):
            rows.append(
                PublishedRow(
                    "swapping_to_drives", {"to": to, "memory_gb": gb, "batch": batch}, "parameters", size, "billion",
                    "PF", ours, (), why=FAR_IN_BATCHES,
                )
            )  # fmt: skip
        rows.append(_agreement_row("swapping_to_drives", {"to": to, "memory_gb": gb}, pairs))
    return rows


def _quotient(first: Value, second: Value) -> Value:
    for value in (first, second):
        if isinstance(value, str):
            return value
    assert not isinstance(first, str) and not isinstance(second, str)
    return first / second if second else "no model fits"
