"""A stream of requests: lengths, in the order of arrival."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from controller.errors import BadWorkload

Lengths = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RequestStream:
    """Requests whose prompts are ready; when they arrived does not matter to a server that is never idle.

    Attributes:
        name: what reports call it.
        prompt_tokens: of each request (n).
        output_tokens: of each request (n).

    Raises:
        BadWorkload: no request, or a length below 1.
    """

    name: str
    prompt_tokens: Lengths
    output_tokens: Lengths

    def __post_init__(self) -> None:
        if len(self.prompt_tokens) != len(self.output_tokens) or not len(self.prompt_tokens):
            raise BadWorkload(f"{self.name}: a stream needs at least one request with a prompt and an output length")
        if int(self.prompt_tokens.min()) < 1 or int(self.output_tokens.min()) < 1:
            raise BadWorkload(f"{self.name}: every request has at least 1 prompt token and 1 output token")

    @property
    def count(self) -> int:
        """Number of requests."""
        return len(self.prompt_tokens)
