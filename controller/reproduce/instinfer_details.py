"""InstInfer's figures 4, 5 and 16, tables I and III, and what the text derives: `controller/reproduce/instinfer.py`.

Where FlexGen keeps its cache decides what stands for it in figures 4 and 5: `gpu_only` for GPU memory, `flexgen` for
host memory (its option cache=dram) and for the drive. DeepSpeed's cache is swapped out at batch 32, says the figure, so
that its option cache=swap stands for that. FlexGen from host memory is asked twice: at the effective context of every
other row, and at the stated one, which is what it reads by its own published rate (18.6 and 20.6 GB/s of the link).
Weights lie in GPU memory in all of ours, and kernels read them as they compute, so that the two shares of figure 5 that
are no access to the cache are one here.

Figure 16 divides the time of the drive's engine. Ours are the matrix-vector units of `node.hardware.drive_engine`,
which do the same arithmetic in each of three steps at a compression of 1/8; filter, sort and sum work beside them and
are not times of their own there. Table I is what those units are declared with, and the prefill row of table III what
the flash is: they check that a unit or a page costs what is declared.

Absent: FlexGen through GPUDirect Storage and read retries, whose effect the text calls negligible; use of the FPGA
(table II) and accuracy, which no clock gives; the measurements of HILOS, another system on other drives.
"""

from __future__ import annotations

from collections.abc import Mapping

from controller.experiment.run_spec import RunSpec
from controller.models.catalog import load_model
from controller.reproduce.fuyou_models import Ours
from controller.reproduce.rows import PublishedRow, Results, Value, identities, throughput
from controller.topology.loader import load_topology
from node.hardware.device import DeviceSpec
from node.hardware.drive_engine import FILTER_BYTES_PER_S, instinfer_engine, stage_times_s

HEAD_DIM, GROUP_TOKENS = 128, 16
"""Of OPT-13B, and of a page."""

FLEXGEN_AT: Mapping[int, tuple[str, str]] = {
    4: ("gpu", "gpu_only"), 8: ("host", "flexgen"), 16: ("host", "flexgen"), 32: ("ssd", "flexgen"),
    64: ("ssd", "flexgen"),
}  # fmt: skip
"""Batch to where its cache lies in figures 4 and 5, and who stands for it."""
MOTIVATION: Mapping[int, tuple[float | str, float]] = {
    4: (23.5, 71.2), 8: (21.7, 14.8), 16: (29.3, 16.4), 32: (0.899, 5.5), 64: ("OOM", 3.7),
}  # fmt: skip
"""Batch to tokens/s of DeepSpeed and of FlexGen (I1 figure 4)."""
SHARES: Mapping[int, tuple[float, float]] = {
    4: (89.2, 10.9), 8: (10.2, 89.9), 16: (6.7, 93.2), 32: (5.3, 94.7), 64: (1.0, 99.0),
}  # fmt: skip
"""Batch to shares of FlexGen's decode time: computing or bringing weights, and access to the cache (figure 5) [%]."""
SPLIT: Mapping[str, Mapping[str, float]] = {
    "sparf": {"logit_0": 37.9, "logit": 18.9, "attend": 27.9, "filter": 2.1, "arg_topk": 8.4, "sum": 4.9},
    "dense": {"logit": 40.5, "attend": 59.5},
}
"""Share of the engine's time by step (I1 figure 16) [%]."""
TABLE_3_RATES = {"prefill_write": 3.78, "decode_read": 7.66, "decode_write": 2.15}
"""Of one drive, SparF at batch 64 [GB/s]."""
SPARSITY = 8
"""One over the compression of every row."""
DRIVES_OF_ENDURANCE, ENDURANCE_TOKENS = 4, 32.26e9
"""Tokens until the drives are worn out (I2 section VI-F)."""


HOST_BATCHES = tuple(batch for batch, (home, _) in FLEXGEN_AT.items() if home == "host")
FAR_IN_HOST = (
    "FlexGen reads the stated context here (18.6 to 20.6 GB/s), not the effective one that other rows need; rows with "
    "context_tokens=1536 ask for that"
)
FAR_IN_SWAP = (
    "swapped out: 8 pages a fault, one fault at a time; what a fault takes on the CPU, and writing pages out, is not "
    "modelled"
)
FAR_IN_GPU_SHARES = "weights lie in GPU memory in all of ours, and kernels read them as they compute"


def runs(effective: float) -> dict[str, RunSpec]:
    """FlexGen with its cache in GPU and host memory, at the effective context of the other runs."""
    asked = [*((batch, False) for batch in (4, *HOST_BATCHES)), *((batch, True) for batch in HOST_BATCHES)]
    return {
        _flexgen(batch, stated): RunSpec(
            FLEXGEN_AT[batch][1], "opt-13b", batch=batch, prompt_tokens=1024, output_tokens=1024,
            effective_context=None if stated else effective,
            options={"cache": "dram"} if FLEXGEN_AT[batch][0] == "host" else {},
        )
        for batch, stated in asked
    }  # fmt: skip


def _flexgen(batch: int, stated: bool = False) -> str:
    """Name of the run that stands for FlexGen at a batch of figures 4 and 5; `stated` reads the stated context."""
    home = FLEXGEN_AT[batch][0]
    return f"flexgen/{batch}" if home == "ssd" else f"flexgen_{home}/{batch}{'/stated' if stated else ''}"


def rows() -> list[PublishedRow]:
    """All of them, printed."""
    return [
        *_motivation_rows(), *_share_rows(), *_split_rows(), *_rate_rows(), *identities(_unit_rows()), *_derived_rows()
    ]  # fmt: skip


def _motivation_rows() -> list[PublishedRow]:
    found: list[PublishedRow] = []
    for batch, (deepspeed, flexgen) in MOTIVATION.items():
        mark = "P" if batch == 32 else "PF"
        for system, published, key in (("deepspeed", deepspeed, f"deepspeed/{batch}"), ("flexgen", flexgen, "")):
            row: dict[str, str | int | float] = {"system": system, "batch": batch}
            if not key:
                key, row["cache"], mark = _flexgen(batch), FLEXGEN_AT[batch][0], "PF"
            why = FAR_IN_HOST if row.get("cache") == "host" else FAR_IN_SWAP if key == "deepspeed/32" else ""
            found.append(
                PublishedRow(
                    "motivation", row, "throughput", published, "tokens/s", mark, throughput(key), (key,), why=why
                )
            )
    for batch in HOST_BATCHES:
        key, published = _flexgen(batch, stated=True), MOTIVATION[batch][1]
        row = {"system": "flexgen", "batch": batch, "cache": "host", "context_tokens": "1536"}
        found.append(
            PublishedRow("motivation", row, "throughput", published, "tokens/s", "PF", throughput(key), (key,))
        )

    def drop(results: Results) -> Value:
        before, after = (results[f"deepspeed/{batch}"] for batch in (16, 32))
        if before.tokens_per_s is None or after.tokens_per_s is None:
            return before.ended if before.tokens_per_s is None else after.ended
        return before.tokens_per_s / after.tokens_per_s

    found.append(
        PublishedRow(
            "motivation", {"system": "deepspeed", "batch": 16, "over_batch": 32}, "throughput_ratio", 32.6, "x", "P",
            drop, ("deepspeed/16", "deepspeed/32"), why=FAR_IN_SWAP,
        )
    )  # fmt: skip
    return found


def _share_rows() -> list[PublishedRow]:
    def cache(batch: int) -> Ours:
        def ours(results: Results) -> Value:
            result = results[_flexgen(batch)]
            if result.tokens_per_s is None or result.decode_s is None:
                return result.ended
            if FLEXGEN_AT[batch][0] == "gpu":
                # The cache is read by attention alone.
                return 100 * result.label_s["decode_attention"] / result.decode_s
            return 100 * (1 - result.busy_ratio["gpu.stream"])

        return ours

    def rest(batch: int) -> Ours:
        def ours(results: Results) -> Value:
            share = cache(batch)(results)
            return share if isinstance(share, str) else 100 - share

        return ours

    return [
        PublishedRow(
            "flexgen_decode_time", {"batch": batch, "cache": FLEXGEN_AT[batch][0], "of": quantity}, quantity,
            published, "%", "PF", ours(batch), (_flexgen(batch),), why=FAR_IN_GPU_SHARES,
        )
        for batch, pair in SHARES.items()
        for quantity, published, ours in zip(("compute_and_weights", "cache"), pair, (rest, cache), strict=True)
    ]  # fmt: skip


def _split_rows() -> list[PublishedRow]:
    return [
        PublishedRow(
            "engine_time", {"system": system, "step": step}, "share", published, "%", "PF", _share(system, step), (),
        )
        for system, steps in SPLIT.items()
        for step, published in steps.items()
    ]  # fmt: skip


def _share(system: str, step: str) -> Ours:
    """Of the time of the matrix-vector units for one head of 1,536 tokens [%]."""

    def ours(_: Results) -> Value:
        engine, tokens = instinfer_engine(), 1536
        kept = 1.0 if system == "dense" else 1.0 / SPARSITY
        both_s = stage_times_s(engine, tokens, HEAD_DIM, kept_share=kept)["gemv"]
        times_s = {"logit": both_s / 2, "attend": both_s / 2}
        if system == "sparf":
            times_s["logit_0"] = stage_times_s(engine, tokens, HEAD_DIM // SPARSITY)["gemv"] / 2
        return 100 * times_s[step] / sum(times_s.values()) if step in times_s else "beside the units"

    return ours


def _rate_rows() -> list[PublishedRow]:
    def rate(part: str) -> Ours:
        def ours(results: Results) -> Value:
            prompt, whole = results["prefill/io"], results["sparf/io"]
            if whole.tokens_per_s is None or prompt.tokens_per_s is None:
                return whole.ended if whole.tokens_per_s is None else prompt.ended
            if part == "decode_read":
                return whole.flash_bytes[0] / whole.label_s["sparf_attention"] / 1e9
            if part == "decode_write":
                return (whole.flash_bytes[1] - prompt.flash_bytes[1]) / whole.label_s["kv flush"] / 1e9
            return prompt.flash_bytes[1] / (prompt.busy_ratio["csd0.flash.simplex"] * prompt.time_s) / 1e9

        return ours

    found = [
        PublishedRow(
            "table_3_rates", {"system": "sparf", "batch": 64, "part": part}, "rate", published, "GB/s", "P",
            rate(part), ("prefill/io", "sparf/io"),
        )
        for part, published in TABLE_3_RATES.items()
    ]  # fmt: skip

    def flexgen(label: str, unit: float) -> Ours:
        def ours(results: Results) -> Value:
            result = results["flexgen/32"]
            if result.tokens_per_s is None:
                return result.ended
            read, written = result.flash_bytes
            # Half of what is written is the prompt, which goes out as a whole.
            return (read if label == "kv read" else written / 2) / result.label_s[label] / unit

        return ours

    # Both rates are declared, read off the same study.
    found += identities(
        PublishedRow(
            "flexgen_storage_path", {"batch": 32, "way": way}, "rate", published, unit, "S",
            flexgen(label, size), ("flexgen/32",),
        )
        for way, label, published, unit, size in (
            ("read", "kv read", 2.0, "GiB/s", 2**30), ("write", "kv append", 11.0, "MiB/s", 2**20),
        )
    )  # fmt: skip
    return found


def _unit_rows() -> list[PublishedRow]:
    """One unit of each kind, one head, 16 tokens; one pass of two over a page for the matrix-vector unit."""
    engine = instinfer_engine(1, 1, 1)
    times_s = stage_times_s(engine, GROUP_TOKENS, HEAD_DIM)
    # The published 37 us are 16 pages: naive reads, one page a token.
    naive_s = GROUP_TOKENS * engine.page_bytes / FILTER_BYTES_PER_S
    measured = (("gemv", 0.32, times_s["gemv"] / 2), ("softmax", 1.64, times_s["softmax"]), ("filter", 37.0, naive_s))
    return [
        PublishedRow(
            "table_1_declared", {"unit": unit, "tokens": GROUP_TOKENS}, "time", published, "us", "P",
            _constant(1e6 * ours_s), (),
        )
        for unit, published, ours_s in measured
    ]  # fmt: skip


def _derived_rows() -> list[PublishedRow]:
    devices = load_topology("a6000_csd").devices
    drive, gpu = devices["csd0"].spec, devices["gpu"].spec

    def endurance(results: Results) -> Value:
        result = results["sparf/io"]
        rated = drive.tiers["flash"].endurance_bytes
        if result.tokens_per_s is None or rated is None:
            return result.ended
        return DRIVES_OF_ENDURANCE * rated / (result.flash_bytes[1] / (64 * 2048))

    return [
        PublishedRow(
            "derived", {"drives": DRIVES_OF_ENDURANCE, "of": "endurance"}, "endurance", ENDURANCE_TOKENS, "tokens", "P",
            endurance, ("sparf/io",),
        ),
        *identities((PublishedRow(
            "derived", {"device": "csd", "of": "ridge"}, "ridge", 58.03, "FLOP/B", "P", _ridge(drive, "flash"), (),
        ),
        PublishedRow(
            "derived", {"device": "a6000", "of": "ridge"}, "ridge", 412.9, "FLOP/B", "P", _ridge(gpu, "hbm"), (),
        ),
        PublishedRow(
            "derived", {"model": "opt-13b", "of": "cache_of_a_token"}, "cache_of_a_token", 819_200.0, "bytes", "D",
            _constant(float(load_model("opt-13b").kv_bytes_per_token())), (), 0.0,
        ))),
    ]  # fmt: skip


def _ridge(spec: DeviceSpec, tier: str) -> Ours:
    peak = max(unit.peak_flop_per_s.get("fp16", 0.0) for unit in spec.computes.values())
    return _constant(peak / spec.tiers[tier].read_bytes_per_s)


def _constant(value: float) -> Ours:
    return lambda _: value
