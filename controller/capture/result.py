"""What a captured program came to on the declared cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller.capture.memory import MemoryUse


@dataclass(frozen=True, slots=True)
class CallShare:
    """Calls of one name in the measured step.

    Attributes:
        name: of the call.
        kind: ``kernel``, ``collective`` or ``copy``.
        count: rows.
        time_s: of all of them [s].
        is_known: whether the table has it; else it is timed by the bytes of its operands.
    """

    name: str
    kind: str
    count: int
    time_s: float
    is_known: bool


@dataclass(frozen=True)
class CapturedResult:
    """The measured step.

    Attributes:
        step_s: of each step after the first [s]; the last is the result.
        is_steady: whether the last two captured steps asked for the same.
        ranks: of the job.
        equal: captured rank to the sentence that says for whom it stands.
        tokens: of all ranks in a step; 0 where the program does not show them.
        tokens_from: how they were found.
        flop: of products and attention in the step, of the busiest rank [FLOP].
        forward_flop: of those outside of the backward, mean over players [FLOP].
        peak_flop_per_s: of a device in the program's type [FLOP/s].
        communication_s: while at least one collective was under way, of the first rank [s].
        exposed_s: of that, while no kernel ran [s].
        idle_s: while neither ran, of the idlest rank [s]: bubble and host.
        memory: of each captured rank.
        calls: by time, the longest first.
        notes: for the user.
    """

    step_s: tuple[float, ...]
    is_steady: bool
    ranks: int
    equal: Mapping[int, str]
    tokens: int
    tokens_from: str
    flop: float
    forward_flop: float
    peak_flop_per_s: float
    communication_s: float
    exposed_s: float
    idle_s: float
    memory: Mapping[int, MemoryUse]
    calls: tuple[CallShare, ...]
    notes: tuple[str, ...]

    @property
    def time_s(self) -> float:
        """Time of a step [s]."""
        return self.step_s[-1]

    @property
    def tokens_per_s(self) -> float:
        """Tokens a second and device."""
        return self.tokens / self.ranks / self.time_s if self.time_s else 0.0

    @property
    def mfu_ratio(self) -> float:
        """Three times the FLOP of products and attention in the forward, over what the device could do in the step."""
        return 3.0 * self.forward_flop / (self.peak_flop_per_s * self.time_s) if self.time_s else 0.0

    def as_json(self) -> dict[str, Any]:
        """Everything under its name, in base units."""
        return {
            "step_s": self.time_s,
            "steps_s": list(self.step_s),
            "is_steady": self.is_steady,
            "ranks": self.ranks,
            "equal_ranks": {str(rank): text for rank, text in self.equal.items()},
            "tokens_per_step": self.tokens,
            "tokens_from": self.tokens_from,
            "tokens_per_s_per_device": self.tokens_per_s,
            "mfu_ratio": self.mfu_ratio,
            "mfu_definition": MFU_DEFINITION,
            "flop": self.flop,
            "forward_flop": self.forward_flop,
            "communication_s": self.communication_s,
            "exposed_communication_s": self.exposed_s,
            "idle_s": self.idle_s,
            "memory": {
                str(rank): {
                    "allocated_bytes": use.allocated_bytes,
                    "reserved_bytes": use.reserved_bytes,
                    "capacity_bytes": use.capacity_bytes,
                    "out_of_memory": use.failed,
                }
                for rank, use in self.memory.items()
            },
            "calls": [
                {
                    "name": each.name,
                    "kind": each.kind,
                    "count": each.count,
                    "time_s": each.time_s,
                    "in_table": each.is_known,
                }
                for each in self.calls
            ],
            "notes": list(self.notes),
        }


MFU_DEFINITION = (
    "3 x FLOP of matrix products and attention in the forward (masked scores not counted), over the dense peak of the "
    "device in bf16 x step time"
)
