"""The published rows, as they are printed."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

SOURCES = {
    "S1": "pytorch/torchtitan, benchmarks/llama3_h100_202412_torchtitan.md",
    "S2": "pytorch/torchtitan, benchmarks/asyncTP_llama3_h100_2025-06_torchtitan.md",
    "S3": "pytorch/torchtitan, benchmarks/llama3-8b_h200_202506_trainy-whitefiber.md",
    "S4": "pytorch/torchtitan, docs/performance.md, versions of 2024",
    "S5": "pytorch/ao, docs/source/workflows/training.md",
    "S6": "PyTorch blog, Maximizing training throughput using PyTorch FSDP, 2024-03-13",
    "S7": "foundation-model-stack/fms-fsdp, README",
    "S8": "PyTorch blog, Supercharging training using float8 and FSDP2, 2024-11-25",
    "S9": "NVIDIA/Megatron-LM, README and its images",
    "S10": "NVIDIA/dgxc-benchmarking",
    "S11": "NVIDIA-NeMo/Megatron-Bridge, docs/performance-summary-archive.md",
    "S12": "MegaScale, NSDI 2024",
    "S13": "PyTorch blog, Introducing PyTorch FSDP API, 2022-03",
    "S14": "PyTorch FSDP, PVLDB 16(12), 2023",
    "S15": "The Llama 3 Herd of Models, table 4, by secondary sources",
    "S16": "karpathy/llm.c, scripts",
    "S17": "KellerJordan/modded-nanogpt, records",
    "S18": "karpathy/nanoGPT, README",
    "S19": "huggingface/picotron, README",
    "S20": "AI-Hypercomputer/maxtext, configs/tpu/v5e/README.md",
    "S21": "mosaicml/llm-foundry, scripts/train/benchmarking/README.md",
}
"""Key of a source to where it is; ``L`` and digits are logs in commit messages of pytorch/torchtitan."""
_NUMBER = re.compile(r"[0-9][0-9.]*")


@dataclass(frozen=True, slots=True)
class MeasuredStep:
    """One row: the columns of `rows.csv`, numbers where they are."""

    id: str
    source: str
    model: str
    hardware: str
    gpus: int
    parallelism: str
    batch: str
    seq: int
    checkpoint: str
    compile: str
    dtype: str
    tokens_per_s: float
    step_s: float
    tflop_per_s: float
    peak_gib: float
    software: str
    note: str

    def sized(self, name: str) -> int:
        """The number behind `name` in parallelism or batch (``TP 8``, ``lbs2``); 0 where there is none."""
        found = re.search(rf"(?<![A-Za-z]){name}\s*(\d+)", f"{self.parallelism} {self.batch}")
        return int(found.group(1)) if found else 0


@lru_cache(maxsize=1)
def measured_steps() -> tuple[MeasuredStep, ...]:
    """Every row, in the order of the file."""
    text = files("controller.reproduce.training").joinpath("rows.csv").read_text(encoding="utf-8")
    return tuple(_row(entry) for entry in csv.DictReader(text.splitlines()))


def _row(entry: dict[str, str]) -> MeasuredStep:
    return MeasuredStep(
        entry["id"],
        entry["source"],
        entry["model"],
        entry["hardware"],
        int(_number(entry["gpus"])),
        entry["parallelism"],
        entry["batch"],
        int(_number(entry["seq"])),
        entry["checkpoint"],
        entry["compile"],
        entry["dtype"],
        _number(entry["tokens_per_s"]),
        _number(entry["step_s"]),
        _number(entry["tflop_per_s"]),
        _number(entry["peak_gib"]),
        entry["software"],
        entry["note"],
    )


def _number(text: str) -> float:
    found = _NUMBER.search(text)
    return float(found.group().rstrip(".")) if found else 0.0
