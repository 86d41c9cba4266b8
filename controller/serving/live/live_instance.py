"""Carries out the iterations of one instance with values: what decodes, chunks of prompts, swaps and copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.errors import BadWorkload
from controller.plan.ops import Buffer, View
from controller.plan.script import Script
from controller.serving.device_times.times import HostCosts
from controller.serving.iteration import Iteration
from controller.serving.kv_movers import KvCopy, KvMover
from controller.serving.kv_pool import BLOCK_TOKENS
from controller.serving.live.forward import LiveForward, RequestRows, ValuesRun
from controller.serving.live.page_table import PageTable, stretches
from controller.serving.live.request_texts import RequestTexts
from controller.serving.state import InstanceState, RequestState

_Piece = tuple[Buffer, int, Buffer, int, int]
"""Source, its first page, destination, its first page, pages."""


class LiveInstance:
    """Implements `IterationValues` with plans over nodes.

    Attributes:
        pages: of its pool, by request.
        texts: of all requests.
        forward: its weights and its pool.
    """

    def __init__(
        self, run: ValuesRun, forward: LiveForward, texts: RequestTexts, host: HostCosts, swap_device: str = "",
        moving: Mapping[int, int] | None = None,
    ) -> None:  # fmt: skip
        """An instance at rest.

        Args:
            run: that has placed `forward`.
            forward: weights and pool.
            texts: of all requests.
            host: time between iterations.
            swap_device: whose DRAM takes what is swapped out; "" where nothing is.
            moving: number of a request that is copied, to the instance that it is copied to.
        """
        self.forward, self.texts, self._run, self._host = forward, texts, run, host
        self.pages = PageTable(forward.pools[0].shape[0], BLOCK_TOKENS)
        self._swap_device, self._moving = swap_device, moving if moving is not None else {}
        self._swapped: dict[int, list[Buffer]] = {}

    def iteration_s(self, state: InstanceState, iteration: Iteration) -> float:
        """Computes an iteration that has begun; its time on the declared devices [s].

        Raises:
            DeviceUnreachable: a node of this instance has died.
        """
        self._run.watch(self.forward.devices)
        swap_s = sum(self._swap_out(request) for request in iteration.swap_out)
        here = {*state.decoding, *state.prefilling, *state.handing}
        coming = {number for number, to in self._moving.items() if to == state.number}
        self.pages.keep(here | coming)
        self._drop_swapped(state)
        swap_s += sum(self._swap_in(request) for request in iteration.swap_in)
        requests: list[tuple[int, RequestRows]] = []
        if iteration.decode:
            for number, request in state.decoding.items():
                held = state.context_of(request) + 1
                requests.append(self._rows(number, held - 1, held, gives=True))
        for chunk in iteration.chunks:
            first, request = chunk.request.computed, chunk.request
            held = first + min(chunk.tokens, request.left_tokens)
            requests.append(self._rows(request.request.number, first, held, gives=held == request.prompt_tokens))
        if not requests:
            return swap_s + self._host.step_s
        chosen, time_s = self.forward.compute(self._run, [rows for _, rows in requests])
        giving = [number for number, rows in requests if rows.gives]
        for number, token in zip(giving, chosen, strict=True):
            self.texts.add(number, token)
        return swap_s + time_s + self._host.step_s + self._host.sequence_s * len(requests)

    def _rows(self, number: int, first: int, held: int, *, gives: bool) -> tuple[int, RequestRows]:
        ids = self.texts.ids(number)
        if gives:
            del ids[held:]  # of an iteration that did not come to its end
        return number, RequestRows(tuple(ids[first:held]), held, tuple(self.pages.hold(number, held)), gives)

    # -- copies --------------------------------------------------------------------------------------------------------

    def send(self, number: int, first_token: int, tokens: int, to: LiveInstance) -> None:
        """Copies the pages of some tokens of a request to another instance, rank to rank.

        Raises:
            BadWorkload: instances of different numbers of ranks, whose heads lie apart.
        """
        mine, theirs = self.forward.pools, to.forward.pools
        self._run.watch((*self.forward.devices, *to.forward.devices))
        if len(mine) != len(theirs):
            raise BadWorkload(
                f"KV pages of {len(mine)} ranks cannot go to an instance of {len(theirs)} ranks with values: choose "
                f"the same tensor parallelism for both, or remove --live"
            )
        held = self.pages.pages(number)
        end = min(first_token + tokens, len(held) * BLOCK_TOKENS)
        whole = slice(first_token // BLOCK_TOKENS, -(-end // BLOCK_TOKENS))
        pairs = stretches(held[whole], to.pages.hold(number, end)[whole])
        self._copy([
            (source, first, target, at, count) for source, target in zip(mine, theirs, strict=True)
            for first, at, count in pairs
        ])  # fmt: skip

    def _swap_out(self, request: RequestState) -> float:
        number, count = request.request.number, -(-request.computed // BLOCK_TOKENS)
        kept = [
            Buffer(self._swap_device, "dram", f"{self.forward.name}.swap{number}.{rank}", pool.dtype,
                   (count, *pool.shape[1:]))
            for rank, pool in enumerate(self.forward.pools)
        ]  # fmt: skip
        for buffer in kept:
            self._run.place(buffer, written=True)
        self._swapped[number] = kept
        pairs = stretches(self.pages.pages(number)[:count], list(range(count)))
        time_s = self._copy([
            (pool, first, host, at, pages) for pool, host in zip(self.forward.pools, kept, strict=True)
            for first, at, pages in pairs
        ])  # fmt: skip
        self.pages.release(number)
        return time_s

    def _swap_in(self, request: RequestState) -> float:
        number = request.request.number
        kept = self._swapped.pop(number)
        count = kept[0].shape[0]
        pairs = stretches(list(range(count)), self.pages.hold(number, count * BLOCK_TOKENS)[:count])
        time_s = self._copy([
            (host, first, pool, at, pages) for pool, host in zip(self.forward.pools, kept, strict=True)
            for first, at, pages in pairs
        ])  # fmt: skip
        for buffer in kept:
            self._run.release(buffer)
        return time_s

    def _drop_swapped(self, state: InstanceState) -> None:
        """Frees what is kept of requests that ended while they were swapped out."""
        for number in [each for each in self._swapped if each not in state.swapped and each not in state.decoding]:
            for buffer in self._swapped.pop(number):
                self._run.release(buffer)

    def _copy(self, pieces: Sequence[_Piece]) -> float:
        """Carries out copies of pages; their time on the declared devices [s]."""
        if not pieces:
            return 0.0
        s = Script("kv pages")
        for source, first, target, at, count in pieces:
            shape = (count, *source.shape[1:])
            page = source.nbytes // source.shape[0]
            s.move(View(source, first * page, shape), View(target, at * page, shape), "kv pages")
        begun_at = self._run.now
        (done,) = self._run.advance([self._run.submit(s.plan()).number])
        return done.end_at - begun_at


class LiveMover:
    """Copies between instances that take the time of another mover, and move the pages at once."""

    def __init__(self, times: KvMover, instances: Sequence[LiveInstance]) -> None:
        self._times, self._instances = times, instances

    def start(self, copy: KvCopy, now: float) -> None:
        self._times.start(copy, now)
        self._instances[copy.source].send(
            copy.request, copy.first_token, copy.tokens, self._instances[copy.destination]
        )  # fmt: skip

    def next_at(self, limit: float) -> float:
        return self._times.next_at(limit)

    def ended(self, now: float) -> list[int]:
        return self._times.ended(now)
