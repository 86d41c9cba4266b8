"""Fuyou, LoHan, Ratel: fine-tuning with everything on SSDs, on one RTX 4090 with twelve drives.

Source: arXiv 2403.06504 (Fuyou is its first version, LoHan and Ratel the later ones; HPCA and ICDE) [R], data of the
authors' repository [RA, mark A], second-hand figures of the first version [mark S]. Figures read off a plot are PF.

TFLOPS follow the papers' convention, 8 P tokens/s, which counts full recomputation whether or not it is done (13B:
0.10387 TFLOP a token, 175B: 1.400, exact to 0.1 % in the published pairs).

Two constants are set from rows, a row each: what a parameter takes of main memory under ZeRO-Infinity, and the
efficiency of the drive array, set from the row of two drives. With it the time of a request is that of
its drives and that in the host (`controller/offload/drive_array.py`). The baselines have the schedule that the paper
describes and no further loss: what their frameworks lose beyond it is the error of their rows.

Absent: the optimizer of G10, which the paper simulates (`fuyou_stages.py`); cost against Megatron on a DGX-A100, of
which there is no published throughput; the largest model on an A100, and the peak of a model of 100B, for which there
is no published shape; the profiling step, which needs no modelling where rates are declared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controller.models.catalog import load_model
from controller.reproduce.fuyou_analysis import (
    BUSY,
    FAR_FROM_GEMINI,
    analysis_rows,
    duration_rows,
    idle_rows,
    size_rows,
)
from controller.reproduce.fuyou_models import EFFICIENCY, Ours, largest_rows, request, spill_rows
from controller.reproduce.fuyou_stages import price_rows, stage_rows, volume_rows
from controller.reproduce.rows import Paper, PublishedRow, Results, Value, identities, throughput
from controller.strategies.zero_infinity import BYTES_A_PARAMETER

TFLOP_PER_TOKEN = {"gpt-13b": 0.10387, "gpt-175b": 1.400}
PEAK_TFLOPS = 165.2
"""Of the RTX 4090 in fp16 (data sheet), which the text's shares of the peak refer to."""

SYSTEMS = ("colossalai", "zero_infinity", "zero_offload", "fuyou")
SWEEP: Mapping[str, Mapping[int, float | str]] = {
    "colossalai": {8: 98.9, 16: 185.6, 32: "OOM", 64: "OOM", 128: "OOM"},
    "zero_infinity": {8: 202.1, 16: 336.2, 32: 433.2, 64: "OOM", 128: "OOM"},
    "zero_offload": {8: 484.8, 16: 637.4, 32: "OOM", 64: "OOM", 128: "OOM"},
    "fuyou": {8: 412.5, 16: 810.8, 32: 1376.1, 64: 1499.9, 128: 1479.3},
}
"""Tokens/s of 13B by system and batch (R figure 5a)."""
FUYOU_TFLOPS = {8: 42.8, 16: 84.3, 32: 143.1, 64: 155.8, 128: 153.8}
"""The same of Fuyou from the authors' data."""
DRIVES = {1: 37.5, 2: 64.3, 3: 81.1, 6: 121.7, 12: 142.0}
"""TFLOPS of 13B at batch 32 by the number of drives (RA)."""
TWO_GPUS_S = 31.0
"""A step of 13B on two GPUs, 16 sequences together [s]."""
FAR_ON_TWO_GPUS = (
    "drives shared by both GPUs bound a step as they do on one (published: 20.2 s), and gathers and sums between them, "
    "copies and Adam hide behind; the text names nothing that takes 11 s more"
)


def paper() -> Paper:
    """The runs and rows of the paper."""
    runs = {
        f"{system}/{model}/{batch}": request(system, model, batch)
        for system, model, batch in (
            *((system, "gpt-13b", batch) for system in SYSTEMS for batch in SWEEP[system]),
            *(("zero_infinity", model, batch) for model, batch in BUSY),
            ("zero_infinity", "gpt-175b", 1), ("zero_offload", "gpt-175b", 1), ("fuyou", "gpt-175b", 16),
            ("fuyou", "gpt-70b", 32),
        )
    }  # fmt: skip
    runs |= {f"drives/{n}": request("fuyou", "gpt-13b", 32, f"ssd.count={n}") for n in DRIVES}
    runs["two_gpus"] = request("fuyou", "gpt-13b", 8, "gpu.count=2")
    runs["a100"] = request("fuyou", "gpt-175b", 64, "gpu.product=a100_sxm_80")
    rows = (
        *_sweep_rows(), *_ratio_rows(), *_best_rows(), *_drive_rows(), _two_gpus_row(), *largest_rows(), *spill_rows(),
        *analysis_rows(), *idle_rows(), *duration_rows(), *stage_rows(), *size_rows(),
        *identities(volume_rows("fuyou/gpt-13b/32")), *identities(price_rows()),
    )  # fmt: skip
    knob = (
        f"efficiency of the drive array {EFFICIENCY:g} (assumed), set from the row of two drives, 13B at batch 32; "
        f"that time on the drives and in the host (32 GB/s, printed) add up is assumed too; main memory of "
        f"ZeRO-Infinity {BYTES_A_PARAMETER:g} bytes a parameter, set from the row of 175B"
    )
    return Paper("fuyou", "Fuyou / LoHan / Ratel: fine-tuning on SSDs with one RTX 4090", runs, rows, knob)


def tflops(key: str, model: str) -> Ours:
    """8 P tokens/s of a run, or the text of how it failed [TFLOPS]."""
    per_token = TFLOP_PER_TOKEN.get(model) or 8e-12 * load_model(model).parameter_count

    def ours(results: Results) -> Value:
        rate = results[key].tokens_per_s
        return results[key].ended if rate is None else rate * per_token

    return ours


def best(system: str) -> tuple[Callable[[Results], float], tuple[str, ...]]:
    """The highest tokens/s of 13B over all batches, and the runs that it is taken from."""
    keys = tuple(f"{system}/gpt-13b/{batch}" for batch in SWEEP[system])
    return lambda results: max(results[key].tokens_per_s or 0.0 for key in keys), keys


def _sweep_rows() -> list[PublishedRow]:
    rows: list[PublishedRow] = []
    for system in SYSTEMS:
        for batch, published in SWEEP[system].items():
            key = f"{system}/gpt-13b/{batch}"
            fails = isinstance(published, str)
            tolerance = 0.0 if fails else 0.10 if system == "fuyou" else None
            rows.append(
                PublishedRow(
                    "throughput_13b", {"system": system, "batch": batch}, "throughput", published, "tokens/s", "PF",
                    throughput(key), (key,), tolerance, why=FAR_FROM_GEMINI if system == "colossalai" else "",
                )
            )  # fmt: skip
    for batch, value in FUYOU_TFLOPS.items():
        key = f"fuyou/gpt-13b/{batch}"
        rows.append(
            PublishedRow(
                "throughput_13b", {"system": "fuyou", "batch": batch, "convention": "8P"}, "throughput", value,
                "TFLOPS", "A", tflops(key, "gpt-13b"), (key,),
            )
        )  # fmt: skip
    return rows


def _ratio_rows() -> list[PublishedRow]:
    rows: list[PublishedRow] = []
    ours, keys = best("fuyou")
    for system, published, mark, tolerance in (
        ("zero_offload", 2.32, "P", 0.35), ("zero_infinity", 3.46, "P", 0.35), ("colossalai", 8.02, "P", None),
        ("zero_infinity", 3.47, "S", None),
    ):  # fmt: skip
        theirs, more = best(system)
        rows.append(
            PublishedRow(
                "best_against_best", {"system": "fuyou", "over": system, "version": "v1" if mark == "S" else "R"},
                "throughput_ratio", published, "x", mark,
                _quotient(ours, theirs), (*keys, *more), tolerance,
                why=FAR_FROM_GEMINI if system == "colossalai" else "",
            )
        )  # fmt: skip
    names = ("fuyou", "zero_offload", "zero_infinity")
    everything = tuple(key for name in names for key in best(name)[1])

    def order(results: Results) -> Value:
        return " > ".join(sorted(names, key=lambda name: -best(name)[0](results)))

    rows.append(
        PublishedRow("best_against_best", {"systems": 3}, "order", " > ".join(names), "", "P", order, everything, 0.0)
    )
    return rows


def _best_rows() -> list[PublishedRow]:
    rows: list[PublishedRow] = []
    for system, published, mark in (
        ("zero_infinity", 44.9, "PF"), ("zero_offload", 66.3, "PF"), ("fuyou", 155.8, "PF"),
        ("zero_infinity", 45.0, "P"), ("fuyou", 156.0, "P"),
    ):  # fmt: skip
        ours, keys = best(system)
        rows.append(
            PublishedRow(
                "best_throughput", {"model": "13b", "system": system, "version": "v1" if mark == "P" else "R"},
                "throughput", published, "TFLOPS", mark,
                _times(ours, TFLOP_PER_TOKEN["gpt-13b"]), keys,
            )
        )  # fmt: skip
    for system in ("zero_infinity", "zero_offload"):
        key = f"{system}/gpt-175b/1"
        rows.append(
            PublishedRow(
                "best_throughput", {"model": "175b", "system": system}, "throughput", "OOM", "TFLOPS", "PF",
                tflops(key, "gpt-175b"), (key,), 0.0,
            )
        )  # fmt: skip
    key = "fuyou/gpt-175b/16"
    of_175b = tflops(key, "gpt-175b")
    rows.append(
        PublishedRow(
            "best_throughput", {"model": "175b", "system": "fuyou", "batch": 16}, "throughput", 86.9, "TFLOPS", "A",
            of_175b, (key,), 0.10,
        )
    )  # fmt: skip
    rows.append(
        PublishedRow(
            "best_throughput", {"model": "175b", "system": "fuyou", "version": "v1"}, "throughput", 87.0, "TFLOPS", "S",
            of_175b, (key,),
        )
    )  # fmt: skip
    for model, published, run in (("175b", 0.53, key), ("70b", 0.925, "fuyou/gpt-70b/32")):
        rate = tflops(run, f"gpt-{model}")
        rows.append(
            PublishedRow(
                "best_throughput", {"model": model, "system": "fuyou"}, "share_of_peak", published, "", "P",
                _times(rate, 1 / PEAK_TFLOPS), (run,),
            )
        )  # fmt: skip
    baselines = tuple(best(name) for name in SYSTEMS if name != "fuyou")
    rows.append(
        PublishedRow(
            "best_throughput", {"model": "13b", "systems": "baselines", "of": "most"}, "share_of_peak", 0.40, "", "P",
            lambda results: (
                max(ours(results) for ours, _ in baselines) * TFLOP_PER_TOKEN["gpt-13b"] / PEAK_TFLOPS
            ),
            tuple(key for _, keys in baselines for key in keys),
        )
    )  # fmt: skip
    rows.append(
        PublishedRow(
            "best_throughput", {"model": "175b", "system": "fuyou", "gpu": "a100_sxm_80", "batch": 64}, "throughput",
            172.0, "TFLOPS", "S", tflops("a100", "gpt-175b"), ("a100",),
        )
    )  # fmt: skip
    return rows


def _drive_rows() -> list[PublishedRow]:
    return [
        PublishedRow(
            "number_of_drives", {"model": "13b", "batch": 32, "drives": n}, "throughput", published, "TFLOPS", "A",
            tflops(f"drives/{n}", "gpt-13b"), (f"drives/{n}",), None if n == 2 else 0.08, n == 2,
        )
        for n, published in DRIVES.items()
    ]  # fmt: skip


def _two_gpus_row() -> PublishedRow:
    return PublishedRow(
        "several_gpus", {"model": "13b", "gpus": 2, "batch": 16}, "step", TWO_GPUS_S, "s", "P",
        lambda results: results["two_gpus"].time_s, ("two_gpus",), why=FAR_ON_TWO_GPUS,
    )  # fmt: skip


def _times(value: Ours, factor: float) -> Ours:
    def ours(results: Results) -> Value:
        found = value(results)
        return found if isinstance(found, str) else found * factor

    return ours


def _quotient(first: Callable[[Results], float], second: Callable[[Results], float]) -> Ours:
    return lambda results: first(results) / second(results)
