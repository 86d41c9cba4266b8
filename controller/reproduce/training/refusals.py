"""Rows that are printed with the reason why nothing of ours stands beside them."""

from __future__ import annotations

import re
from collections.abc import Callable

from controller.reproduce.training.published import MeasuredStep


def _other_software(row: MeasuredStep) -> str:
    reasons = {
        "E": "Megatron-Core's own kernels and schedules", "F": "NeMo and Transformer Engine", "G": "NeMo",
        "H": "Megatron-LM and MegaScale", "I": "no step time, or CPU offload", "J": "the Llama 3 trainer",
        "L": "MaxText on TPU",
    }  # fmt: skip
    known = reasons.get(row.id[0])
    if known is None and row.source in ("S16", "S18", "S19"):
        known = "other software, or conditions missing"
    return f"not run: {known}" if known else ""


def _other_parallelism(row: MeasuredStep) -> str:
    if row.sized("PP") > 1:
        return "not run: pipeline, context and tensor parallel with async TP at once"
    if re.search(r"EP\s*\d", row.parallelism) or "GPT-OSS" in row.model or "DeepSeek" in row.model:
        return "not run: a mixture of experts"
    return ""


def _no_figure(row: MeasuredStep) -> str:
    return "" if row.tokens_per_s or row.step_s else "not run: no step time is published"


def _other_devices(row: MeasuredStep) -> str:
    return "not run: GB200 is declared as one rack of another kind" if "GB200" in row.hardware else ""


REFUSALS: tuple[Callable[[MeasuredStep], str], ...] = (
    _other_software, _other_parallelism, _other_devices, _no_figure,
)  # fmt: skip
