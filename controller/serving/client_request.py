"""What a client asks for: a prompt that arrives, how long its answer is, and how soon it has to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """One request.

    Attributes:
        number: position in the order of arrival, from 0.
        arrival_at: instant on the clock of the run [s].
        prompt_tokens, output_tokens: lengths [tokens].
        kind: name of the class of requests that it belongs to; "" for the only one.
        priority: a lower number goes first, where a scheduler looks at it.
        session: number of the conversation or user that it is part of; -1 for none.
        prefix: content hashes of the blocks that its prompt begins with, each for `prefix_block_tokens` tokens.
        prefix_block_tokens: tokens of one such block.
    """

    number: int
    arrival_at: float
    prompt_tokens: int
    output_tokens: int
    kind: str = ""
    priority: int = 0
    session: int = -1
    prefix: tuple[int, ...] = ()
    prefix_block_tokens: int = 16

    @property
    def total_tokens(self) -> int:
        """Prompt and output [tokens]."""
        return self.prompt_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Slo:
    """Service-level objective of a request; None where there is no bound [s]."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    itl_s: float | None = None
    e2e_s: float | None = None

    def __bool__(self) -> bool:
        return any(bound is not None for bound in (self.ttft_s, self.tpot_s, self.itl_s, self.e2e_s))


NO_SLO = Slo()
"""No bound."""


@dataclass(frozen=True, slots=True)
class RequestStreamSpec:
    """Requests in the order of arrival, and where they come from.

    Attributes:
        requests: in the order of arrival.
        name: what reports call them.
        rate_per_s: mean rate of arrivals [1/s]; infinite where all are there at once.
        users: of a closed loop, each of whom sends the next request when the last one has ended; 0 for an open one.
        slos: by class; the class "" holds for every request without one of its own.
        notes: what reading or drawing them took for granted.
    """

    requests: Sequence[ClientRequest]
    name: str
    rate_per_s: float = float("inf")
    users: int = 0
    slos: Mapping[str, Slo] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
