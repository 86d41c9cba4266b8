"""From the conditions of a row to a program on a declared cluster; rules look at conditions alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controller.capture.lowering.attention import FLASH2_HOPPER_SHARE
from controller.reproduce.training.published import MeasuredStep, measured_steps
from controller.reproduce.training.refusals import REFUSALS
from node.hardware.power import sustained_share

HERE: Final = Path(__file__).parent
META_WATTS, META_MEMORY = 500.0, "2.4 TB/s"
"""H100 of Meta's tables: HBM2e of 96 GB at 2.4 TB/s, 500 W (pytorch/torchtitan, benchmarks)."""


A100_SUSTAINED = 267.9 / 312
"""Most that bf16 products reach on an A100 SXM over its peak, measured (github.com/stas00/ml-engineering, maximum
achievable matmul FLOPS: 267.9 TFLOP/s; H100 SXM 792.1, which its sheet has as 0.79 too)."""

TRITON_SLOWER = (1.3 * 2.5) ** 0.5
"""Attention of Triton over FlashAttention-2 in time: geometric mean of the 1.3 to 2.5 that Dao measured on an A100
(FlashAttention-2, arXiv 2307.08691, section 4); that it holds on an H100 is assumed. It was not fitted, but it was
looked for after MPT's steps on H100 had come out 14 to 28 % too fast, so those rows are no blind test of it."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A program that is captured and timed for a row.

    Attributes:
        topology: file or shipped name.
        overrides: of it.
        ranks: that take part.
        arguments: of the program.
        accumulate: micro-batches of a step.
        tokens: of a rank and step, over the ranks that share them.
        assumed: what the row does not say, in words.
    """

    topology: str
    overrides: tuple[str, ...]
    ranks: int
    arguments: tuple[str, ...]
    accumulate: int
    tokens: float
    assumed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotRun:
    """Why a row is printed without a value of ours."""

    reason: str


def run_of(row: MeasuredStep) -> TrainingRun | NotRun:
    """What stands for a row."""
    for rule in REFUSALS:
        reason = rule(row)
        if reason:
            return NotRun(reason)
    model = _model(row)
    if model is None:
        return NotRun(f"no model {row.model!r} among the fixtures")
    cluster = _cluster(row)
    if isinstance(cluster, NotRun):
        return cluster
    topology, overrides, assumed = cluster
    notes = list(assumed)
    batch, accumulate = row.sized("lbs") or row.sized("mbs"), max(1, row.sized("ga"))
    if not batch:
        batch = 1
        notes.append("batch 1")
    seq = row.seq or 8192
    if not row.seq:
        notes.append("sequence 8192")
    tp, cp = max(1, row.sized("TP")), max(1, row.sized("CP"))
    words = ["--model", model, "--batch", str(batch), "--seq", str(seq), "--tp", str(tp), "--cp", str(cp)]
    words += _checkpoint(row, notes) + _sharding(row) + _software(row, notes)
    if "no" not in row.compile.split()[0] and row.compile:
        notes.append("eager instead of compiled")
    if "float8" in row.dtype:
        notes.append("bf16 instead of float8")
    tokens = batch * accumulate * seq / (tp * cp)
    ranks = row.gpus or 8
    return TrainingRun(topology, overrides, ranks, tuple(words), accumulate, tokens, tuple(notes))


def _model(row: MeasuredStep) -> str | None:
    name = row.model.lower().replace("llama3.1", "llama3")
    known = re.match(r"(llama[23]-[0-9.]+b|qwen3-32b|mpt-[0-9]+[mb])", name)
    if known:
        return known.group(1)
    if name.startswith("gpt-2-like (titan"):
        return "gpt2-128k"
    return "gpt2" if name.startswith("gpt-2 124m") and row.source == "S17" else None


def _cluster(row: MeasuredStep) -> tuple[str, tuple[str, ...], tuple[str, ...]] | NotRun:
    text = row.hardware.lower()
    h100, a100 = str(HERE / "h100_hosts.yaml"), str(HERE / "a100_hosts.yaml")
    if "h200" in text:
        memory = ("gpu.hbm.read=4.8 TB/s", "gpu.hbm.write=4.8 TB/s", "gpu.hbm.capacity=141 GB")
        return h100, memory, ()
    if "h100-95g" in text or "h100-96g" in text:
        share = sustained_share(989e12, 1.83e9, META_WATTS)
        meta = (
            f"gpu.hbm.read={META_MEMORY}", f"gpu.hbm.write={META_MEMORY}", "gpu.hbm.capacity=95 GiB",
            f"gpu.tensor.sustained_efficiency={share:.4f}",
        )  # fmt: skip
        notes = () if "96g" in text else ("H100 with HBM2e of 2.4 TB/s and 500 W, as in Meta's tables",)
        return h100, meta, notes
    if "h100" in text:
        if "800gb/s" in text:
            return h100, ("fabric.link.bandwidth=100 Gb/s",), ()
        assumed = () if row.gpus <= 8 or "400" in text else ("400 Gb/s a GPU between hosts",)
        if row.source == "S21":
            # Its submit script asked for attention by Triton when the runs on H100 were made.
            attention = f"gpu.tensor.prefill_efficiency={FLASH2_HOPPER_SHARE / TRITON_SLOWER:.4f}"
            return h100, (attention,), (*assumed, "attention by Triton, 1.8 times as long as FlashAttention-2")
        return h100, (), assumed
    if "a100" in text:
        changes: tuple[str, ...] = (f"gpu.tensor.sustained_efficiency={A100_SUSTAINED:.4f}",)
        if "40g" in text:
            changes = (*changes, "gpu.hbm.read=1555 GB/s", "gpu.hbm.write=1555 GB/s", "gpu.hbm.capacity=40 GiB")
        if "400gb/s per node" in text:
            return a100, (*changes, "fabric.link.bandwidth=50 Gb/s"), ()
        return a100, changes, () if row.gpus <= 8 else ("200 Gb/s a GPU between hosts",)
    return NotRun(f"no cluster of {row.hardware!r} is declared")


def _checkpoint(row: MeasuredStep, notes: list[str]) -> list[str]:
    text = row.checkpoint
    if text == "not stated":
        # Rows of one log or page come from one setup. The rule was written after B16 had been run without it.
        others = {each.checkpoint for each in measured_steps() if each.source == row.source} - {"not stated"}
        if len(others) == 1 and row.source.startswith("L"):
            text = others.pop()
            notes.append(f"{text} checkpointing, as in the other rows of its log")
    if text.startswith("sel-op") or text == "selective":
        return ["--checkpoint", "selective"]
    if text.startswith("full"):
        return ["--checkpoint", "full"]
    if text.startswith("none"):
        return ["--checkpoint", "none"]
    if text.startswith("sel"):
        notes.append("selective checkpointing by op instead of whole blocks")
        return ["--checkpoint", "selective"]
    notes.append("selective checkpointing by op")
    return ["--checkpoint", "selective"]


def _sharding(row: MeasuredStep) -> list[str]:
    text = row.parallelism
    if text == "DDP":
        return ["--parallel", "ddp"]
    if text.startswith(("FSDP1", "HSDP")):
        words = ["--parallel", "fsdp1"]
        if "SHARD_GRAD_OP" in text:
            words += ["--reshard", "never"]
        if text == "HSDP" or row.model == "Llama2-7B":
            words += ["--replicate", str(row.gpus // 8)]
        return words
    return ["--parallel", "fsdp2", "--reshard", "always" if "reshard=always" in text else "default"]


def _software(row: MeasuredStep, notes: list[str]) -> list[str]:
    """Optimizer, norm and type of the gradient's sum, by the software of the row's time."""
    if row.source == "S21":
        reduce = "bf16" if "pure" in row.dtype else "fp32"
        notes.append("AdamW over lists of tensors")
        return ["--optimizer", "foreach", "--reduce", reduce, "--norm", "plain"]
    if row.source in ("S6", "S7"):
        notes.append("fused AdamW")
        return ["--optimizer", "fused", "--reduce", "bf16", "--norm", "plain"]
    old = row.source == "S4" and row.gpus == 64
    foreach = old or "foreach" in row.note
    fused_norm = "fused_rmsnorm" in row.note or row.source in ("Ld66b72a", "Ld9bdfbb", "L58b0344", "L66e93e6")
    optimizer, norm = "foreach" if foreach else "fused", "fused" if fused_norm else "plain"
    return ["--optimizer", optimizer, "--reduce", "fp32", "--norm", norm]
