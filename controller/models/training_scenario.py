"""What a training strategy is asked to do: model, batch, sequence and steps, the same for both executors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from controller.errors import BadWorkload
from controller.models.limits import check_batch, check_steps, check_tokens
from controller.models.shape import ModelShape
from controller.models.weights import Weights
from controller.topology.schema import Topology
from node.hardware.operation import ITEM_BYTES


@dataclass(frozen=True)
class TrainingScenario:
    """One training run's input.

    Attributes:
        topology: the declared cluster.
        shape: the model's shape.
        batch: sequences of one step on each GPU.
        seq: tokens of each sequence.
        steps: optimizer steps.
        dtype: element type of parameters, activations and gradients on the GPU; the states are fp32.
        weights: real initial weights in a live run, None otherwise.
        token_ids: ids (steps, GPUs, batch, seq + 1) in a live run; inputs are all but the last, targets all but the
            first.
        options: further options of the strategy, by name.
        seed: of everything that is drawn.
    """

    topology: Topology
    shape: ModelShape
    batch: int
    seq: int
    steps: int
    dtype: str
    weights: Weights | None = None
    token_ids: npt.NDArray[np.int64] | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch", "seq", "steps"):
            value = getattr(self, name)
            if value < 1:
                raise BadWorkload(f"{name} is {value}; at least 1 is needed")
        token_bytes = self.shape.hidden * ITEM_BYTES[self.dtype]
        check_batch(self.batch, self.seq * token_bytes)
        check_steps("steps", self.steps)
        check_tokens("seq", self.seq, token_bytes, "write a smaller --seq")
        limit = self.shape.max_positions
        if self.shape.positions == "learned" and self.seq > limit:
            raise BadWorkload(f"sequences of {self.seq} tokens; {self.shape.name} has positions for {limit}")

    @property
    def tokens(self) -> int:
        """Tokens of one step on one GPU."""
        return self.batch * self.seq

    def workload(self) -> dict[str, Any]:
        """The ``workload`` object of ``run --json``."""
        return {
            "batch": self.batch,
            "seq": self.seq,
            "steps": self.steps,
            "dtype": self.dtype,
            "options": dict(self.options),
        }

    def workload_text(self) -> str:
        """One line for people."""
        return f"batch {self.batch}, sequences of {self.seq} tokens, {self.steps} steps"
