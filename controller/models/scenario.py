"""What a strategy is asked to do: model, workload and options, the same for both executors."""

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
class Scenario:
    """One run's input.

    Attributes:
        topology: the declared cluster.
        shape: the model's shape.
        batch: sequences decoded together.
        prompt_tokens: tokens of each prompt.
        output_tokens: tokens generated for each prompt, the first of which ends the prefill.
        dtype: element type of weights and activations: the published one, or fp32 in a live run.
        weights: real weights in a live run, None otherwise.
        prompt_ids: token ids (batch, prompt_tokens) in a live run.
        stop_ids: tokens that end the generation in a live run of one sequence.
        effective_context: mean context that decode attention reads [tokens]; None for the real one. A knob of
            reproductions whose paper contradicts its own hardware; never used in a live run.
        options: further options of the strategy, by name.
        seed: of everything that is drawn.
    """

    topology: Topology
    shape: ModelShape
    batch: int
    prompt_tokens: int
    output_tokens: int
    dtype: str
    weights: Weights | None = None
    prompt_ids: npt.NDArray[np.int64] | None = None
    stop_ids: tuple[int, ...] = ()
    effective_context: float | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch", "prompt_tokens", "output_tokens"):
            value = getattr(self, name)
            if value < 1:
                raise BadWorkload(f"{name.replace('_', ' ')} is {value}; at least 1 is needed")
        token_bytes = self.shape.hidden * ITEM_BYTES[self.dtype]
        check_batch(self.batch, self.prompt_tokens * token_bytes)
        check_steps("output tokens", self.output_tokens)
        check_tokens("prompt tokens", self.prompt_tokens, token_bytes, "write a smaller --prompt-tokens")
        limit = self.shape.max_positions
        # A rotation goes on beyond what the model was trained for, whatever it then says; a table of positions ends.
        if self.shape.positions == "learned" and self.max_tokens > limit:
            raise BadWorkload(
                f"{self.prompt_tokens} prompt + {self.output_tokens} output tokens are {self.max_tokens}; "
                f"{self.shape.name} has positions for {limit}; shorten one of them"
            )

    @property
    def kv_dtype(self) -> str:
        """Element type of what is cached: that of activations unless the model says another."""
        return self.shape.kv_dtype or self.dtype

    @property
    def max_tokens(self) -> int:
        """Longest context of a sequence [tokens]."""
        return self.prompt_tokens + self.output_tokens

    @property
    def mean_context(self) -> float:
        """Mean context of the decode phase, as the workload has it [tokens]."""
        return self.prompt_tokens + self.output_tokens / 2

    @property
    def context_scale(self) -> float:
        """Effective over stated mean context of the decode phase; 1 unless a reproduction sets it."""
        if self.effective_context is None:
            return 1.0
        return self.effective_context / self.mean_context

    def effective_tokens(self, context_tokens: int) -> int:
        """Tokens that attention reads when the context holds `context_tokens`, at least 1 if there are any."""
        if self.effective_context is None:
            return context_tokens
        return max(round(context_tokens * self.context_scale), min(context_tokens, 1))

    def effective_start(self, first: int, context_tokens: int) -> int:
        """First token that a window attends to, of `effective_tokens`; as many as without it, at most all.

        Args:
            first: first token that the window leaves of the real context.
            context_tokens: of the real context.
        """
        attended = context_tokens - min(first, context_tokens)
        return max(0, self.effective_tokens(context_tokens) - attended)

    def workload(self) -> dict[str, Any]:
        """The ``workload`` object of ``run --json``."""
        return {
            "batch": self.batch,
            "prompt_tokens": self.prompt_tokens,
            "output_tokens": self.output_tokens,
            "dtype": self.dtype,
            **({"kv_dtype": self.kv_dtype} if self.shape.kv_dtype else {}),
            "mean_context": self.mean_context,
            "effective_context": self.effective_context,
            "options": dict(self.options),
        }

    def workload_text(self) -> str:
        """One line for people."""
        text = f"batch {self.batch}, {self.prompt_tokens} + {self.output_tokens} tokens"
        if self.max_tokens > self.shape.max_positions:
            text += f" (more than the {self.shape.max_positions} that {self.shape.name} was made for)"
        return text
