"""The schemes that ``windtunnel compare`` sets side by side unless told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.errors import UserError
from controller.strategies.table import lookup


class BadCandidate(UserError):
    """Invalid candidate."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A strategy on a topology under a name.

    Attributes:
        name: what tables call it.
        strategy: name in the table of strategies, or ``file.py:function``.
        topology: name or path; None for the strategy's own.
        options: of the strategy.
        rivals: other ways to do the same on that topology. All are run, and the row is that of the fastest, so that
            what others are compared with is as good as the table of strategies has it.
    """

    name: str
    strategy: str
    topology: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    rivals: tuple[Candidate, ...] = ()


HBM_ONLY = Candidate(
    "HBM only", "vllm_tp", "dgx_h100", {"gpus": "all"}, (Candidate("HBM only", "gpu_only", "dgx_h100"),)
)
"""The baseline: a model with fewer heads than there are GPUs cannot be tensor-parallel, and then layers take turns."""

GENERATION: tuple[Candidate, ...] = (
    HBM_ONLY,
    Candidate("DRAM", "dram_kv", "offload_h100"),
    Candidate("CXL", "cxl_kv", "offload_h100"),
    Candidate("SSD", "flexgen", "offload_h100"),
    Candidate("in storage", "instinfer", "offload_h100"),
    Candidate("attention offloading", "lamina", "lamina"),
)
"""Where the KV cache lies, and who computes on it."""


def parse_candidate(text: str) -> Candidate:
    """``[NAME=]STRATEGY[@TOPOLOGY]`` as a candidate.

    Raises:
        BadCandidate: an empty part.
        UnknownStrategy: no such strategy.
    """
    head, equals, rest = text.partition("=")
    name, what = (head, rest) if equals else ("", text)
    strategy, at, topology = what.rpartition("@") if "@" in what else (what, "", "")
    if not strategy or (equals and not name) or (at and not topology):
        raise BadCandidate(
            f"candidate {text!r}; write [NAME=]STRATEGY[@TOPOLOGY], for example DRAM=dram_kv@offload_h100"
        )
    lookup(strategy)
    return Candidate(name or text, strategy, topology or None)
