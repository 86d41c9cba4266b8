"""The checks of a scheduler as a class that pytest collects, for one of a user's own too.

class TestMine(SchedulerSuite):
    scheduler = "my_scheduler.py:decide"
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from controller.conformance.serving_toys import ServingToy, run_toy, serving_toys
from controller.serving.iteration import Iteration
from controller.serving.schedulers.table import SchedulerEntry, load_scheduler
from controller.serving.state import InstanceState, ServerLimits
from controller.serving.token_times import token_instants


class SchedulerSuite:
    """Subclass it in a test file and name the scheduler; pytest runs every check.

    Attributes:
        scheduler: a name of the table, or ``path/to/file.py:function``.
        limits: what it is tried with.
    """

    scheduler: ClassVar[str]
    limits: ClassVar[dict[str, int]] = {"max_requests": 16, "budget_tokens": 64}

    def entry(self) -> SchedulerEntry:
        """The scheduler with the limits of the suite."""
        return load_scheduler(self.scheduler, self.limits)

    def test_every_request_ends_once_with_all_of_its_tokens(self) -> None:
        entry = self.entry()
        for toy in serving_toys():
            loop = run_toy(toy, entry.decide, entry.limits)
            assert [state.request.number for state in loop.states] == list(range(len(toy.stream.requests))), toy.name
            ends = [np.array(each.progress.step_end_at) for each in loop.instances]
            for state in loop.states:
                assert state.outcome == "ok", (toy.name, state.request)
                instants = token_instants(state, ends)
                assert len(instants) == state.request.output_tokens, (toy.name, state.request)
                assert (np.diff(instants) > 0).all(), (toy.name, state.request)
                assert instants[0] > state.request.arrival_at, (toy.name, state.request)

    def test_the_pool_is_never_exceeded_and_empty_afterwards(self) -> None:
        for toy in serving_toys():
            self._watched(toy, self.entry())

    def _watched(self, toy: ServingToy, entry: SchedulerEntry) -> None:
        def watched(state: InstanceState, now: float) -> Iteration:
            pool = state.pool
            assert 0 <= pool.own_blocks + pool.shared_blocks <= pool.capacity_blocks, toy.name
            assert state.running_count <= state.limits.max_requests, toy.name
            own = sum(map(state.own_blocks, (*state.decoding.values(), *state.prefilling.values())))
            assert own == pool.own_blocks, toy.name
            return entry.decide(state, now)

        loop = run_toy(toy, watched, entry.limits)
        state = loop.instances[0].state
        assert state.pool.held_blocks == 0 and state.context_tokens == 0 and not any(state.at_edge), toy.name

    def test_the_same_input_gives_the_same_decision_and_nothing_changes(self) -> None:
        entry = self.entry()

        def twice(state: InstanceState, now: float) -> Iteration:
            before = _fingerprint(state)
            first, second = entry.decide(state, now), entry.decide(state, now)
            assert first == second and _fingerprint(state) == before
            return first

        for toy in serving_toys():
            run_toy(toy, twice, entry.limits)

    def test_steps_that_are_decided_at_once_are_those_decided_one_by_one(self) -> None:
        entry = self.entry()
        for toy in serving_toys():
            jumps, steps = (run_toy(toy, entry.decide, entry.limits, steady=steady) for steady in (True, False))
            for one, other in zip(jumps.states, steps.states, strict=True):
                assert abs(one.end_at - other.end_at) < 1e-9, (toy.name, one.request)
                assert abs(one.first_at - other.first_at) < 1e-9, (toy.name, one.request)


def _fingerprint(state: InstanceState) -> tuple[object, ...]:
    stages = (state.waiting, state.prefilling.values(), state.decoding.values(), state.swapped.values())
    return (
        tuple(tuple((each.request.number, each.computed, each.generated, each.stage) for each in stage)
              for stage in stages),
        state.step, state.context_tokens, state.pool.own_blocks, state.pool.shared_blocks, tuple(state.at_edge),
    )  # fmt: skip


__all__ = ["SchedulerSuite", "ServerLimits"]
