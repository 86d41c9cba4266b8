"""Fuyou: where time and memory of a step go, in its own runs and in those of the baselines.

Source: as `fuyou.py`.
"""

from __future__ import annotations

from controller.models.catalog import load_model
from controller.models.training import activation_kinds, all_activation_bytes
from controller.reproduce.fuyou_models import SEQ, Ours, request
from controller.reproduce.largest import placed_bytes
from controller.reproduce.rows import PublishedRow, Results, Value, identities

BUSY = {
    ("gpt-13b", 8): (15.9, 58.2), ("gpt-13b", 16): (26.1, 48.0), ("gpt-13b", 32): (36.2, 32.5),
    ("gpt-30b", 8): (17.5, 56.4), ("gpt-30b", 16): (27.4, 46.5), ("gpt-70b", 8): (15.6, 58.7),
}  # fmt: skip
"""ZeRO-Infinity: share of the step that the GPU is busy, and that the optimizer takes (R figures 2b and 2c) [%]."""
STAGES = {
    ("zero_infinity", "forward"): 14.0, ("zero_infinity", "backward"): 26.0, ("zero_infinity", "optimizer"): 23.0,
    ("fuyou", "forward"): 5.0, ("fuyou", "backward"): 20.0,
}  # fmt: skip
"""Seconds of each stage of 13B at batch 32 (R figure 1)."""

FAR_FROM_GEMINI = (
    "Gemini's eviction, its fp32 chunks and the faults of memory that is allocated anew for every copy are modelled; "
    "some 50 s of a step that do not grow with the batch are not, and the text names nothing that takes them"
)


def analysis_rows() -> list[PublishedRow]:
    """How busy ZeRO-Infinity and Colossal-AI keep the GPU, and what the optimizer takes."""
    rows: list[PublishedRow] = []
    for (model, batch), (busy, share) in BUSY.items():
        key = f"zero_infinity/{model}/{batch}"
        for quantity, published, ours in (
            ("gpu_busy", busy, _gpu_busy(key)), ("optimizer_share", share, _phase_share(key, "optimizer")),
        ):  # fmt: skip
            rows.append(
                PublishedRow(
                    "zero_infinity_analysis", {"model": model.removeprefix("gpt-"), "batch": batch}, quantity,
                    published, "%", "PF", ours, (key,),
                )
            )  # fmt: skip
    key = "colossalai/gpt-13b/16"
    rows.append(
        PublishedRow(
            "zero_infinity_analysis", {"system": "colossalai", "batch": 16}, "gpu_busy", 12.0, "%", "P",
            _gpu_busy(key), (key,), why=FAR_FROM_GEMINI,
        )
    )  # fmt: skip
    return rows


def duration_rows() -> list[PublishedRow]:
    """How long each stage of a step takes."""
    return [
        PublishedRow(
            "stage_times", {"system": system, "stage": stage}, "duration", published, "s", "P",
            _stage(f"{system}/gpt-13b/32", stage),
            (f"{system}/gpt-13b/32",),
        )
        for (system, stage), published in STAGES.items()
    ]  # fmt: skip


def size_rows() -> list[PublishedRow]:
    """Volumes: of 13B at batch 32 (the paper's GB are 2^30 bytes), and what 175B takes; 1.1 TB is what was declared."""
    small = "fuyou/gpt-13b/32"
    of_drives = request("fuyou", "gpt-175b", 1)
    of_memory = request("zero_infinity", "gpt-175b", 1, "cpu.dram.capacity=64 TiB", "gpu.hbm.capacity=1 TiB")
    shape = load_model("gpt-13b")
    tokens = 32 * SEQ
    between = shape.layers * activation_kinds(shape)["x"].nbytes(tokens, "fp16") / 2**30
    everything = shape.layers * all_activation_bytes(shape, tokens, "fp16") / 2**30
    model: dict[str, str | int | float] = {"model": "13b", "batch": 32}
    return [
        *identities((
            PublishedRow("volumes", model, "inputs_of_blocks", 12.5, "GiB", "P", lambda _: between, (), 0.01),
            PublishedRow("volumes", model, "all_activations", 213.0, "GiB", "P", lambda _: everything, (), 0.01),
        )),
        PublishedRow(
            "volumes", model, "swapped_activations", 34.0, "GiB", "P",
            lambda results: float(results[small].reports["swapped_bytes"]) / 2**30, (small,),
        ),
        PublishedRow(
            "volumes", {"model": "175b", "system": "fuyou"}, "state_on_drives", 2.45, "TB", "P",
            lambda _: placed_bytes(of_drives, "flash") / 1e12, (), 0.05, identity=True,
        ),
        PublishedRow(
            "volumes", {"model": "175b", "system": "zero_infinity"}, "main_memory", 1.1, "TB", "P",
            lambda _: placed_bytes(of_memory, "dram") / 1e12, (), calibration=True,
        ),
    ]  # fmt: skip


def idle_rows() -> list[PublishedRow]:
    """ZeRO-Infinity leaves the GPU idle for 40 to 70 % of a step."""
    keys = tuple(f"zero_infinity/{model}/{batch}" for model, batch in BUSY)

    def idle(results: Results) -> list[float]:
        return [100 * (1 - results[key].busy_ratio.get("gpu0.stream", 0.0)) for key in keys]

    return [
        PublishedRow("zero_infinity_analysis", {"of": "least"}, "gpu_idle", 40.0, "%", "S",
                     lambda results: min(idle(results)), keys),
        PublishedRow("zero_infinity_analysis", {"of": "most"}, "gpu_idle", 70.0, "%", "S",
                     lambda results: max(idle(results)), keys),
    ]  # fmt: skip


def _gpu_busy(key: str) -> Ours:
    def ours(results: Results) -> Value:
        result = results[key]
        return result.ended if result.tokens_per_s is None else 100 * result.busy_ratio["gpu0.stream"]

    return ours


def _phase_share(key: str, phase: str) -> Ours:
    def ours(results: Results) -> Value:
        result = results[key]
        return result.ended if result.tokens_per_s is None else 100 * result.phases[phase] / result.time_s

    return ours


def _stage(key: str, stage: str) -> Ours:
    return lambda results: results[key].phases[stage]
