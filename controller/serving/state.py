"""What a scheduler sees of an instance: its requests by stage, its KV pool and its limits.

A request waits, then its prompt is computed in chunks (it *prefills*), then it decodes until its last token. What runs
in the decode stage makes a token in every iteration that decodes, so that the state counts steps once for all of them:
the context of a request follows from the step at which it joined, and how many blocks the next step needs from how
many requests are at the edge of a block (`growth_blocks`). No iteration touches every request.

Schedulers read and never write; `controller.serving.progress` moves requests from stage to stage.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.serving.client_request import ClientRequest
from controller.serving.kv_pool import KvPool

WAITING, PREFILLING, DECODING = "waiting", "prefilling", "decoding"
SWAPPED, MOVING, ENDED = "swapped", "moving", "ended"


@dataclass(eq=False, slots=True)
class RequestState:
    """One request on its way through an instance.

    Attributes:
        request: what the client asked for.
        stage: where it is.
        prompt_tokens: to be computed before it decodes: its prompt, after a preemption with its tokens so far.
        computed: of those, already in the KV cache, cached prefixes included.
        generated: tokens that its client has, apart from those of decode steps since it joined.
        joined_step, joined_context: step counter of the instance and cached tokens when it began to decode.
        reserved_blocks: that it keeps however little it has computed.
        shared: hash blocks of the prefix tree that it uses.
        shared_tokens: that those hold.
        token_runs: runs of decode steps (instance, first step, end step) of whose ends its tokens are.
        prefill_ends: instants at which a prompt's end gave a token, one for every recomputation [s].
        first_at, end_at: instants of the first and the last token; negative before [s].
        admitted_at: when its first chunk began [s].
        preemptions, migrations: how often it had to leave.
        downtime_s: that migrations cost it [s].
        outcome: ``ok`` or the error that it ended with; "" before.
    """

    request: ClientRequest
    stage: str = WAITING
    prompt_tokens: int = 0
    computed: int = 0
    generated: int = 0
    joined_step: int = 0
    joined_context: int = 0
    reserved_blocks: int = 0
    shared: tuple[int, ...] = ()
    shared_tokens: int = 0
    token_runs: list[tuple[int, int, int]] = field(default_factory=list)
    prefill_ends: list[float] = field(default_factory=list)
    first_at: float = -1.0
    end_at: float = -1.0
    admitted_at: float = -1.0
    preemptions: int = 0
    migrations: int = 0
    downtime_s: float = 0.0
    lost_s: float = 0.0
    left_at: float = -1.0
    cached_tokens: int = 0
    instance: int = 0
    outcome: str = ""

    def __post_init__(self) -> None:
        if not self.prompt_tokens:
            self.prompt_tokens = self.request.prompt_tokens

    def start_again(self) -> None:
        """Lets it wait with the tokens that its client has, after everything that was cached of it is gone."""
        self.stage, self.computed = WAITING, 0
        self.prompt_tokens = self.request.prompt_tokens + self.generated
        self.shared, self.shared_tokens, self.reserved_blocks = (), 0, 0

    @property
    def left_tokens(self) -> int:
        """Prompt tokens still to be computed."""
        return self.prompt_tokens - self.computed


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a server is started with.

    Attributes:
        max_requests: that run at once.
        budget_tokens: of one iteration (Sarathi's and FastGen's budget; vLLM's most tokens of a pass over prompts).
        max_prefills: requests whose prompts one iteration computes, at most; 0 for any number.
        swap: what must leave goes to host memory instead of being recomputed.
        priority_steps: decode steps after which FastSwitch draws priorities anew.
        group_blocks: blocks that lie in one piece, so that a swap copies them at once.
        watermark: share of the blocks that admission leaves free.
        max_tokens: longest context of the model [tokens].
    """

    max_requests: int = 256
    budget_tokens: int = 2048
    max_prefills: int = 0
    swap: bool = False
    watermark: float = 0.01
    priority_steps: int = 25
    group_blocks: int = 1
    max_tokens: int = 1 << 40


USUAL_LIMITS = ServerLimits()
"""Those of vLLM."""


@dataclass(eq=False, slots=True)
class InstanceState:
    """One instance: a replica of the model with its own KV pool.

    Attributes:
        number: of the instance.
        pool: its KV blocks.
        limits: what it was started with.
        waiting: requests not yet admitted, first come first; a preempted one is the first again.
        prefilling, decoding: admitted requests by number, in the order of admission.
        swapped: requests whose blocks are in host memory, first out first.
        handing: finished prompts whose cache another instance is to pull.
        step: decode steps so far.
        context_tokens: cached tokens of all requests that decode.
        batch_count: requests that were admitted since nobody ran.
        served_tokens: prompt and output tokens that every client has had; of those that decode, when they joined.
        draining: takes no new requests.
    """

    number: int
    pool: KvPool
    limits: ServerLimits
    waiting: deque[RequestState] = field(default_factory=deque)
    prefilling: dict[int, RequestState] = field(default_factory=dict)
    decoding: dict[int, RequestState] = field(default_factory=dict)
    swapped: dict[int, RequestState] = field(default_factory=dict)
    step: int = 0
    context_tokens: int = 0
    handing: dict[int, RequestState] = field(default_factory=dict)
    batch_count: int = 0
    served_tokens: dict[str, tuple[int, int]] = field(default_factory=dict)
    draining: bool = False
    at_edge: list[int] = field(default_factory=list)
    growing: int = 0

    def __post_init__(self) -> None:
        self.at_edge = [0] * self.pool.block_tokens

    @property
    def running_count(self) -> int:
        """Requests that have been admitted and hold blocks."""
        return len(self.decoding) + len(self.prefilling)

    @property
    def free_blocks(self) -> int:
        """Blocks that can be taken now, cached prefixes without a user included."""
        return self.pool.available_blocks

    @property
    def growth_blocks(self) -> int:
        """Blocks that the next decode step takes."""
        return self.at_edge[-self.step % self.pool.block_tokens]

    def context_of(self, state: RequestState) -> int:
        """Tokens of a request that are cached now."""
        if state.stage == DECODING:
            return state.joined_context + self.step - state.joined_step
        return state.computed

    def generated_by(self, state: RequestState) -> int:
        """Tokens that the client of a request has now."""
        return state.generated + (self.step - state.joined_step if state.stage == DECODING else 0)

    def own_blocks(self, state: RequestState) -> int:
        """Blocks that a request holds for itself, cached prefixes apart."""
        size = self.pool.block_tokens
        return max(-(-(self.context_of(state) - state.shared_tokens) // size), state.reserved_blocks)

    def blocks_for(self, tokens: int) -> int:
        """Blocks of `tokens` tokens of one request."""
        return -(-tokens // self.pool.block_tokens)

    def latest_first(self) -> Iterator[RequestState]:
        """Requests that decode, the latest to join first."""
        return (self.decoding[number] for number in reversed(self.decoding))


def client_of(request: ClientRequest) -> str:
    """Who sent a request: its session, or its class where it has none."""
    return f"session {request.session}" if request.session >= 0 else request.kind
