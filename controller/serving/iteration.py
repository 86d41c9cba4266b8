"""What a scheduler decides: who runs in the next iteration of an instance, and who leaves before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.serving.state import RequestState


@dataclass(frozen=True, slots=True)
class PromptChunk:
    """Tokens of a prompt that an iteration computes; a chunk of a waiting request admits it.

    Attributes:
        request: whose prompt.
        tokens: how many of those still to be computed.
        reserve_tokens: the KV cache takes room for as many from now on; 0 for what is computed.
    """

    request: RequestState
    tokens: int
    reserve_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Iteration:
    """One iteration; without any work the instance waits for the next arrival.

    Attributes:
        chunks: of prompts.
        decode: whether every request that decodes makes a token.
        preempt: requests that leave the KV cache before it, to be recomputed.
        swap_out, swap_in: requests whose KV blocks go to the host's memory before it, or come back.
        padding_rows: rows that decode for nobody, as in a batch that waits for its longest request.
        padding_tokens: prompt tokens that are computed for nobody, as in a batch padded to its longest prompt.
        steady: the decision stays the same until a request arrives or ends or blocks run out, so that the loop need
            not ask again; only for iterations that decode alone.
        side_by_side: compute, memory and network operations of nano-batches share the devices (NanoFlow).
    """

    chunks: tuple[PromptChunk, ...] = ()
    decode: bool = False
    preempt: tuple[RequestState, ...] = ()
    swap_out: tuple[RequestState, ...] = ()
    swap_in: tuple[RequestState, ...] = ()
    padding_rows: int = 0
    padding_tokens: int = 0
    steady: bool = False
    side_by_side: bool = False

    @property
    def prompt_tokens(self) -> int:
        """Prompt tokens over all chunks."""
        return sum(chunk.tokens for chunk in self.chunks)

    @property
    def works(self) -> bool:
        """Whether a device has anything to do."""
        return self.decode or bool(self.chunks)


IDLE = Iteration()
"""Nothing to do until a request arrives."""
