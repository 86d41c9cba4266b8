"""One instance in the loop: its requests, its scheduler, and the iteration that it is in."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import accumulate
from typing import Protocol

from controller.serving.iteration import Iteration
from controller.serving.iteration_times import IterationLoad, IterationTimes
from controller.serving.pipeline import StagePipeline
from controller.serving.progress import BadDecision, RequestProgress
from controller.serving.state import WAITING, InstanceState, RequestState


class IterationValues(Protocol):
    """Computes iterations beside timing them."""

    def iteration_s(self, state: InstanceState, iteration: Iteration) -> float:
        """Computes an iteration that has begun; its time on the declared devices [s]."""


Decide = Callable[[InstanceState, float], Iteration]
"""A scheduler: what runs next, from what it sees; it changes nothing."""

MOST_STEPS = 4096
"""Decode steps that are decided at once."""


class ServingInstance:
    """A replica of the model at work.

    Attributes:
        state: what schedulers and cluster policies see.
        progress: moves its requests.
        iteration: that it is in; None while it is idle.
        ends_at: ends of the steps of that iteration that are still to come [s].
        version: of `ends_at`, counted whenever it changes.
        busy_s: time in iterations [s].
        rows: requests in them, over all iterations.
        samples: (instant, blocks held, running, waiting) at the end of every iteration or run of steps.
        pipeline: its stages; None for one.
        lanes: instances that share its queue and its pool, itself included.
        joining: requests whose cache has come from elsewhere, which decode from the next iteration on.
        values: computes its iterations; None where only their time is asked for.
        is_down: it runs nothing until it is back.
        slowdown: how much longer iterations take now than as declared (a slow device).
        prompt_slowdown: the same of iterations with prompts alone (a lower clock).
    """

    def __init__(
        self, state: InstanceState, times: IterationTimes, decide: Decide, pipeline: StagePipeline | None = None
    ) -> None:
        self.state, self.times, self.decide = state, times, decide
        self.progress = RequestProgress(state)
        self.pipeline = pipeline
        self.lanes: list[ServingInstance] = [self]
        self.iteration: Iteration | None = None
        self.ends_at: list[float] = []
        self.version = 0
        self.busy_s = self.prompt_s = 0.0
        self.iterations = self.prompt_tokens = self.rows = 0
        self.samples: list[tuple[float, int, int, int]] = []
        self.slowdown = 1.0
        self.is_down = False
        self.prompt_slowdown = 1.0
        self.joining: list[RequestState] = []
        self.values: IterationValues | None = None

    def start(self, now: float) -> float | None:
        """Decides and begins the next iteration; its end, or None where there is nothing to do [s]."""
        state = self.state
        for request in self.joining:
            self.progress.join(request)
            if request.left_at >= 0:
                request.lost_s, request.left_at = request.lost_s + now - request.left_at, -1.0
        self.joining.clear()
        iteration = self.decide(state, now)
        if not iteration.works and not (iteration.preempt or iteration.swap_out or iteration.swap_in):
            self.iteration = None
            return None
        progress, moved = self.progress, [state.own_blocks(request) for request in iteration.swap_out]
        moved += [state.blocks_for(request.computed) for request in iteration.swap_in]
        swapped = sum(moved)
        copies = sum(-(-blocks // state.limits.group_blocks) for blocks in moved)
        behind = 0 if state.pool.tiers is None else state.pool.moved_blocks
        progress.begin(iteration, now)
        if state.pool.tiers is not None and state.pool.moved_blocks > behind:
            swapped += state.pool.moved_blocks - behind
            copies += state.pool.moved_blocks - behind
        self.iteration, self.version = iteration, self.version + 1
        rows = len(state.decoding) if iteration.decode else 0
        if iteration.decode and not rows:
            raise BadDecision("the scheduler decodes and no request does: decide `Iteration()` to wait")
        if self._runs_on(iteration) and not swapped:
            count = min(progress.steps_until_end(), MOST_STEPS)
            count = progress.steps_with_blocks(count)
            if count > 1:
                durations = self.times.decode_steps_s(rows, state.context_tokens + rows, count)
                if self.slowdown != 1.0:
                    durations = [duration * self.slowdown for duration in durations]
                self.ends_at = list(accumulate(durations, initial=now))[1:]
                self.busy_s += self.ends_at[-1] - now
                self.rows += rows * count
                return self.ends_at[-1]
        chunks, ended = [], 0
        for chunk in iteration.chunks:
            tokens = min(chunk.tokens, chunk.request.left_tokens)
            chunks.append((tokens, chunk.request.computed))
            ended += tokens == chunk.request.left_tokens
            self.prompt_tokens += tokens
        load = IterationLoad(
            rows + iteration.padding_rows,
            state.context_tokens + rows if rows else 0,
            tuple(chunks), ended, swapped, copies, iteration.side_by_side, iteration.padding_tokens,
        )  # fmt: skip
        asked = self.times.iteration_s(load) if self.values is None else self.values.iteration_s(state, iteration)
        duration = asked * self.slowdown * (self.prompt_slowdown if chunks else 1.0)
        self.ends_at = [now + duration if self.pipeline is None else self.pipeline.enter(now, duration)]
        self.busy_s += duration
        self.rows += rows + len(chunks)
        return self.ends_at[0]

    def _runs_on(self, iteration: Iteration) -> bool:
        """Whether a decision holds for several steps."""
        if self.values is not None:
            return False
        return iteration.steady and not iteration.chunks and not iteration.padding_rows and self.pipeline is None

    def end(self) -> list[RequestState]:
        """Ends the iteration at its last instant; the requests that have ended with it."""
        iteration, ends_at = self.iteration, self.ends_at
        assert iteration is not None, "an iteration is under way"
        self.iterations += len(ends_at)
        if iteration.chunks or len(ends_at) == 1:
            ended = self.progress.finish(iteration, ends_at[-1])
        else:
            ended = self.progress.jump(ends_at)
        self.iteration, self.ends_at = None, []
        self.sample(self.progress.step_end_at[-1] if not ends_at else ends_at[-1])
        return ended

    def let_go(self, request: RequestState, now: float) -> bool:
        """Takes a request out between two iterations; False for one that is on its way to another instance."""
        state, number = self.state, request.request.number
        if request.stage == WAITING and request in state.waiting:
            state.waiting.remove(request)
        elif number in state.swapped:
            del state.swapped[number]
        elif number in state.decoding or number in state.prefilling:
            self.progress.evict(request, now)
        else:
            return False
        return True

    def lose(self, now: float) -> list[RequestState]:
        """Goes down in the middle of whatever runs; every request that it had, none of which ends here."""
        state = self.state
        if self.ends_at:
            self.busy_s -= max(0.0, self.ends_at[-1] - now)
        self.iteration, self.ends_at, self.is_down = None, [], True
        self.version += 1
        found = [*state.decoding.values(), *state.prefilling.values()]
        self.progress.forget_growth()
        for request in found:
            self.progress.evict(request, now)
        found += [*state.swapped.values(), *state.handing.values(), *self.joining, *state.waiting]
        for held in (state.swapped, state.handing, self.joining, state.waiting, self.progress.handed_over):
            held.clear()
        return found

    def sample(self, now: float) -> None:
        """Notes how full the instance is."""
        state = self.state
        self.samples.append((now, state.pool.held_blocks, state.running_count, len(state.waiting)))

    def interrupt(self, now: float) -> float | None:
        """Cuts a run of steps to the one under way, as somebody came who may change what runs; its end, if cut."""
        ends_at = self.ends_at
        if len(ends_at) < 2:
            return None
        kept = bisect_left(ends_at, now) + 1
        if kept >= len(ends_at):
            return None
        self.busy_s -= ends_at[-1] - ends_at[kept - 1]
        self.rows -= len(self.state.decoding) * (len(ends_at) - kept)
        del ends_at[kept:]
        self.version += 1
        return ends_at[-1]

    def sync(self, now: float) -> None:
        """Counts the steps of a run that have ended until `now`, so that the state is that of this instant."""
        ends_at = self.ends_at
        if len(ends_at) < 2 or ends_at[0] > now:
            return
        done = min(bisect_right(ends_at, now), len(ends_at) - 1)
        if done:
            self.iterations += done
            self.progress.jump(ends_at[:done])
            self.progress.take_growth()
            del ends_at[:done]
