"""The dispatcher of a supernode: prompts read their cached prefix from pooled memory before they are admitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

from controller.serving.cluster import ServingCluster
from controller.serving.cluster_state import PREFILL
from controller.serving.clusters.pdc_handoff import HandoffMover
from controller.serving.clusters.pdc_store import BlockStore
from controller.serving.clusters.pdc_transport import CacheTransport
from controller.serving.clusters.table import ClusterEntry
from controller.serving.instance import ServingInstance
from controller.serving.loop import ServingLoop
from controller.serving.state import RequestState


class PdcCluster(ServingCluster):
    """Prefill and decode instances beside a store of KV blocks.

    Attributes:
        store: of blocks; None for no caching pool.
        model_times_s: of a cold start and of a switch to a cached model, by name [s].
    """

    def __init__(
        self, entry: ClusterEntry, instances: Sequence[ServingInstance], mover: HandoffMover, roles: Sequence[str],
        options: Mapping[str, float], store: BlockStore | None, transport: CacheTransport | None,
        model_times_s: Mapping[str, float], ready_at: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(entry, instances, mover, roles, options)
        self.store, self._transport, self._handoffs = store, transport, mover
        self.model_times_s, self._ready_at = dict(model_times_s), ready_at
        self._loading: list[tuple[float, int, RequestState, int]] = []
        self.load_s = 0.0
        for instance in instances:
            instance.progress.keeps_prefixes = False

    def _sync(self, now: float) -> None:
        """Prefill instances are never in a run of steps."""
        for instance, role in zip(self.instances, self.state.roles, strict=True):
            if role != PREFILL:
                instance.sync(now)

    def arrive(self, loop: ServingLoop, state: RequestState, now: float) -> None:
        """Routes a prompt; what pooled memory has of it is read first."""
        self.moves.loop = loop
        number = self._route(self.state, state.request)
        self.state.routed += 1
        ready_at = max(now, self._ready_at) + self._read_s(state)
        if ready_at > now:
            heappush(self._loading, (ready_at, state.request.number, state, number))
        else:
            loop.admit(self.instances[number], state, now)

    def _read_s(self, state: RequestState) -> float:
        request = state.request
        if self.store is None or self._transport is None or not request.prefix:
            return 0.0
        size = request.prefix_block_tokens
        found = self.store.find(request.prefix[: (request.prompt_tokens - 1) // size])
        state.computed = state.cached_tokens = found.blocks * size
        if not found.blocks:
            return 0.0
        took = self._transport.load_s(found)
        self.load_s += took
        return took

    def ended(self, loop: ServingLoop, instance: ServingInstance, ended: Sequence[RequestState], now: float) -> None:
        """Stores the blocks of finished prompts, then as every cluster."""
        if self.store is not None:
            for state in instance.progress.handed_over:
                request = state.request
                if request.prefix:
                    self.store.put(request.prefix[: request.prompt_tokens // request.prefix_block_tokens])
        super().ended(loop, instance, ended, now)

    def next_at(self, limit: float) -> float:
        """The next end of a read, or what happens in every cluster [s]."""
        own = self._loading[0][0] if self._loading else float("inf")
        return min(own if own <= limit else float("inf"), super().next_at(min(limit, own)))

    def act(self, loop: ServingLoop, now: float) -> None:
        """Admits prompts whose prefix is there."""
        super().act(loop, now)
        while self._loading and self._loading[0][0] <= now:
            _, _, state, number = heappop(self._loading)
            loop.admit(self.instances[number], state, now)

    def strike(self, gone: frozenset[str], down_links: frozenset[str]) -> list[str]:
        """Servers that are gone lose their blocks, those that are back are empty, copies take the links that are left.

        Returns:
            Names of the servers that went.
        """
        lost = []
        if self.store is not None:
            lost = sorted(gone & self.store.servers.keys())
            for name in lost:
                self.store.fail(name)
            for name in sorted(self.store.left.keys() - gone):
                self.store.join(name)
        self._handoffs.reroute(down_links)
        if self._transport is not None:
            self._transport.reroute(gone, down_links)
        return lost

    def details(self) -> dict[str, Any]:
        """Figures of the pools."""
        made: dict[str, Any] = {"model_cache": self.model_times_s, "handoffs_that_met": self._handoffs.met}
        if self.store is not None and self._transport is not None:
            store = self.store
            made["kv_store"] = {
                "servers": len(store.servers), "asked_blocks": store.asked_blocks, "hit_blocks": store.hit_blocks,
                "flash_hits": store.flash_hits, "evicted_blocks": store.evicted_blocks,
                "lost_blocks": store.lost_blocks, "loaded_bytes": self._transport.loaded_bytes,
                "plane": self._transport.plane, "load_s": self.load_s,
            }  # fmt: skip
        return made
