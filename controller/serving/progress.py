"""What an iteration does to the requests of an instance: the only place where they change their stage.

    admitted = begin(state, iteration, now)      # blocks are taken, whoever must leave has left
    ended = finish(state, iteration, steps, end_at)

Between the two lies the time that the iteration takes, whoever says how long that is: a virtual run, a measured
surface, or nodes that compute. `step_end_at` of the instance holds the end of every decode step, so that a request's
token times are a slice of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from controller.errors import RunError
from controller.serving.iteration import Iteration, PromptChunk
from controller.serving.state import (
    DECODING,
    ENDED,
    MOVING,
    PREFILLING,
    SWAPPED,
    WAITING,
    InstanceState,
    RequestState,
    client_of,
)


class BadDecision(RunError):
    """A scheduler decided what cannot be; says which request and why."""


class RequestProgress:
    """Requests of one instance as iterations go by.

    Attributes:
        state: what the scheduler sees.
        step_end_at: end of every decode step [s].
        hands_over: a finished prompt keeps its blocks until another instance has pulled them.
        handed_over: those that have finished since somebody looked.
        preemptions, swapped_blocks, recomputed_tokens: counts so far.
        keeps_prefixes: finished prompts stay in device memory for others that begin alike.
    """

    def __init__(self, state: InstanceState) -> None:
        self.state = state
        self.step_end_at: list[float] = []
        self.preemptions = self.recomputed_tokens = self.swap_outs = 0
        self.hands_over, self.keeps_prefixes = False, True
        self.handed_over: list[RequestState] = []
        self._ahead_blocks = 0
        self._ends_at: dict[int, list[RequestState]] = {}
        self._end_steps: list[int] = []

    # -- before an iteration -------------------------------------------------------------------------------------------

    def begin(self, iteration: Iteration, now: float) -> None:
        """Lets go who must leave, admits, and takes the blocks of the iteration.

        Raises:
            BadDecision: a request that is not where the decision needs it.
            KvExhausted: more blocks than there are.
        """
        if not self.state.running_count:
            self.state.batch_count = 0
        for request in iteration.preempt:
            self.preempt(request, now)
        for request in iteration.swap_out:
            self._swap_out(request, now)
        for request in iteration.swap_in:
            self._swap_in(request, now)
        for chunk in iteration.chunks:
            self._begin_chunk(chunk, now)
        if iteration.decode:
            self.take_growth()

    def _begin_chunk(self, chunk: PromptChunk, now: float) -> None:
        state, request, pool = self.state, chunk.request, self.state.pool
        number = request.request.number
        if not 0 < chunk.tokens <= request.left_tokens:
            raise BadDecision(
                f"request {number} has {request.left_tokens} prompt tokens left, and a chunk takes {chunk.tokens}"
            )
        if request.stage == WAITING:
            if state.waiting and state.waiting[0] is request:
                state.waiting.popleft()
            else:
                state.waiting.remove(request)
            if request.admitted_at < 0:
                request.admitted_at = now
            if request.left_at >= 0:
                request.lost_s += now - request.left_at
                request.left_at = -1.0
            request.stage, request.instance = PREFILLING, state.number
            state.batch_count += 1
            state.prefilling[number] = request
            self._use_prefix(request)
        elif number not in state.prefilling:
            raise BadDecision(f"request {number} is {request.stage}: a chunk needs one that waits or prefills")
        held = state.own_blocks(request)
        own = min(chunk.tokens, request.left_tokens) + request.computed - request.shared_tokens
        wanted = max(state.blocks_for(own), state.blocks_for(chunk.reserve_tokens - request.shared_tokens), held)
        if wanted > held:
            pool.take(wanted - held)
        request.reserved_blocks = max(wanted, request.reserved_blocks)

    def _use_prefix(self, request: RequestState) -> None:
        pool, prefix = self.state.pool, request.request.prefix
        if not prefix or not self.keeps_prefixes:
            return
        size = request.request.prefix_block_tokens
        whole = min(len(prefix), (request.prompt_tokens - 1) // size)
        pool.queried_tokens += request.prompt_tokens
        found = pool.cached_hashes(prefix[:whole])
        if found:
            pool.use(prefix[:found])
        found += pool.restore(prefix[found:whole], size // pool.block_tokens)
        if found:
            request.shared = prefix[:found]
            request.shared_tokens = request.computed = found * size
            pool.hit_tokens += found * size
            request.cached_tokens += found * size

    def take_growth(self) -> None:
        """Takes the blocks of the step that begins, so that nobody else can before it ends."""
        self._ahead_blocks = self.state.growth_blocks
        if self._ahead_blocks:
            self.state.pool.take(self._ahead_blocks)

    def forget_growth(self) -> None:
        """Drops the blocks of a step that will never end."""
        self._ahead_blocks = 0

    # -- after an iteration --------------------------------------------------------------------------------------------

    def finish(self, iteration: Iteration, end_at: float) -> list[RequestState]:
        """Gives every request what the iteration made.

        Returns:
            Requests that have their last token, in the order of their ends.
        """
        ended: list[RequestState] = []
        if iteration.decode:
            self._step(end_at, ended)
        for chunk in iteration.chunks:
            self._end_chunk(chunk.request, chunk.tokens, end_at, ended)
        return ended

    def jump(self, ends_at: Sequence[float]) -> list[RequestState]:
        """Many steps of decoding alone, in which nobody ends but in the last; those of the first have been taken."""
        state, count = self.state, len(ends_at)
        size, rows = state.pool.block_tokens, len(state.decoding)
        rounds, rest = divmod(count, size)
        blocks = rounds * state.growing
        for offset in range(rest):
            blocks += state.at_edge[-(state.step + offset) % size]
        blocks -= self._ahead_blocks
        self._ahead_blocks = 0
        if blocks:
            state.pool.take(blocks)
        state.step += count
        state.context_tokens += count * rows
        self.step_end_at.extend(ends_at)
        ended: list[RequestState] = []
        self._end_due(ends_at[-1], ended)
        return ended

    def steps_until_end(self) -> int:
        """Decode steps until the first request has its last token; 0 when nobody decodes."""
        steps, ends = self._end_steps, self._ends_at
        while steps:
            first = steps[0]
            if first in ends and any(self._is_due(request, first) for request in ends[first]):
                return first - self.state.step
            heappop(steps)
            ends.pop(first, None)
        return 0

    def _is_due(self, request: RequestState, step: int) -> bool:
        """Whether a request has its last token at `step`, and did not leave since that was noted."""
        left = request.request.output_tokens - request.generated
        return (
            request.stage == DECODING and request.instance == self.state.number and request.joined_step + left == step
        )

    def _end_due(self, end_at: float, ended: list[RequestState]) -> None:
        step = self.state.step
        for request in self._ends_at.pop(step, ()):
            if self._is_due(request, step):
                self.leave_decoding(request)
                self._close(request, end_at, ended)

    def steps_with_blocks(self, most: int) -> int:
        """Decode steps, at most `most`, for which there are blocks."""
        state = self.state
        free, size = state.free_blocks + self._ahead_blocks, state.pool.block_tokens
        if not state.growing:
            return most
        rounds = free // state.growing
        count, left = rounds * size, free - rounds * state.growing
        if count >= most:
            return most
        while count < most:
            left -= state.at_edge[-(state.step + count) % size]
            if left < 0:
                break
            count += 1
        return count

    def _step(self, end_at: float, ended: list[RequestState]) -> None:
        state = self.state
        self._ahead_blocks = 0
        state.step += 1
        state.context_tokens += len(state.decoding)
        self.step_end_at.append(end_at)
        if state.step in self._ends_at:
            self._end_due(end_at, ended)

    def _end_chunk(self, request: RequestState, tokens: int, end_at: float, ended: list[RequestState]) -> None:
        state = self.state
        request.computed += min(tokens, request.left_tokens)
        if request.left_tokens:
            return
        number = request.request.number
        del state.prefilling[number]
        self._publish_prefix(request)
        self._serve(request, request.computed if request.generated == 0 else 0, 1)
        request.generated += 1
        request.prefill_ends.append(end_at)
        if request.first_at < 0:
            request.first_at = end_at
        if request.generated >= request.request.output_tokens:
            request.stage = DECODING
            request.joined_step, request.joined_context = state.step, request.computed
            self._release(request)
            self._close(request, end_at, ended)
            return
        if self.hands_over:
            request.stage = MOVING
            state.handing[number] = request
            self.handed_over.append(request)
            return
        self.join(request)

    def let_go(self, request: RequestState) -> None:
        """Gives the blocks of a finished prompt back whose cache another instance has pulled."""
        del self.state.handing[request.request.number]
        self._release(request)

    def _publish_prefix(self, request: RequestState) -> None:
        """Shares the whole blocks of a prompt that has been computed."""
        prefix = request.request.prefix
        if not prefix or not self.keeps_prefixes:
            return
        size, pool = request.request.prefix_block_tokens, self.state.pool
        whole = prefix[len(request.shared) : min(len(prefix), request.prompt_tokens // size)]
        if not whole:
            return
        freed = pool.share(whole, size // pool.block_tokens)
        request.shared = (*request.shared, *whole)
        request.shared_tokens += len(whole) * size
        request.reserved_blocks = max(0, request.reserved_blocks - freed)

    def join(self, request: RequestState) -> None:
        """Lets a request decode whose cached tokens are there."""
        state = self.state
        request.stage, request.instance = DECODING, state.number
        request.joined_step, request.joined_context = state.step, request.computed
        state.decoding[request.request.number] = request
        state.context_tokens += request.computed
        left = request.request.output_tokens - request.generated
        last = state.step + left
        if last not in self._ends_at:
            self._ends_at[last] = []
            heappush(self._end_steps, last)
        self._ends_at[last].append(request)
        self._trim(request)
        self._count_edge(request, 1)

    def _trim(self, request: RequestState) -> None:
        """Gives back what a request reserved beyond its prompt, unless it has room for its whole answer."""
        held = self.state.blocks_for(request.joined_context - request.shared_tokens)
        if held < request.reserved_blocks < self._whole_blocks(request):
            self.state.pool.give(request.reserved_blocks - held)
            request.reserved_blocks = held

    def _whole_blocks(self, request: RequestState) -> int:
        """Blocks of its own when a request makes its last token, which is not cached."""
        own = request.joined_context - request.shared_tokens
        return self.state.blocks_for(own + request.request.output_tokens - request.generated - 1)

    def _count_edge(self, request: RequestState, change: int) -> None:
        """Counts a request among those that take a block whenever their context is at the edge of one.

        One with room for its whole answer never does.
        """
        state = self.state
        own = request.joined_context - request.shared_tokens
        if state.blocks_for(own) < request.reserved_blocks >= self._whole_blocks(request):
            return
        state.at_edge[(own - request.joined_step) % state.pool.block_tokens] += change
        state.growing += change

    def _close(self, request: RequestState, end_at: float, ended: list[RequestState]) -> None:
        request.stage, request.end_at, request.outcome = ENDED, end_at, "ok"
        ended.append(request)

    # -- leaving -------------------------------------------------------------------------------------------------------

    def leave_decoding(self, request: RequestState) -> None:
        """Takes a request out of the decode stage with the tokens that it has, and gives its blocks back."""
        state = self.state
        number = request.request.number
        context, made = state.context_of(request), state.step - request.joined_step
        if made:
            request.token_runs.append((state.number, request.joined_step, state.step))
        del state.decoding[number]
        state.context_tokens -= context
        self._count_edge(request, -1)
        self._release(request)
        request.generated += made
        self._serve(request, 0, made)
        request.computed = context
        request.joined_context, request.joined_step = context, state.step

    def _serve(self, request: RequestState, prompt_tokens: int, output_tokens: int) -> None:
        served, client = self.state.served_tokens, client_of(request.request)
        prompt, output = served.get(client, (0, 0))
        served[client] = prompt + prompt_tokens, output + output_tokens

    def _release(self, request: RequestState) -> None:
        pool = self.state.pool
        pool.give(self.state.own_blocks(request))
        request.reserved_blocks = 0
        if request.shared:
            pool.leave(request.shared)
            request.shared, request.shared_tokens = (), 0

    def preempt(self, request: RequestState, now: float) -> None:
        """Drops the blocks of a request, which waits as the first in the queue to be recomputed."""
        self.evict(request, now)
        request.preemptions += 1
        self.preemptions += 1
        self.recomputed_tokens += request.computed
        request.computed = 0
        request.stage = WAITING
        self.state.waiting.appendleft(request)

    def evict(self, request: RequestState, now: float) -> None:
        """Takes a request off the instance, blocks and all; it keeps the count of what it had computed."""
        state, number = self.state, request.request.number
        request.left_at = now
        if request.stage == DECODING and number in state.decoding:
            self.leave_decoding(request)
            request.prompt_tokens = request.request.prompt_tokens + request.generated
            # The last token is not cached: the pass over the prompt and the tokens so far gives the one after it.
        elif request.stage == PREFILLING and number in state.prefilling:
            del state.prefilling[number]
            self._release(request)
        else:
            raise BadDecision(f"request {number} is {request.stage} and cannot leave the KV cache of this instance")
        request.stage = MOVING

    def _swap_out(self, request: RequestState, now: float) -> None:
        if request.stage != DECODING:
            raise BadDecision(f"request {request.request.number} is {request.stage}; one that decodes can swap out")
        request.left_at = now
        self.leave_decoding(request)
        request.stage = SWAPPED
        request.preemptions += 1
        self.preemptions += 1
        self.swap_outs += 1
        self.state.swapped[request.request.number] = request

    def _swap_in(self, request: RequestState, now: float) -> None:
        if self.state.swapped.pop(request.request.number, None) is None:
            raise BadDecision(f"request {request.request.number} is {request.stage} and not swapped out")
        self.state.pool.take(self.state.blocks_for(request.computed))
        request.lost_s += now - request.left_at
        request.left_at = -1.0
        self.join(request)
