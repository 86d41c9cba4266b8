"""Push calls: bytes of this device into its own tiers or into those of peers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack

from node.errors import PeerUnreachable, ShapeMismatch
from node.memory.resources import SharedResource, Side, Use, joined
from node.memory.tensors import copy_bytes
from node.memory.tier import StoredBuffer
from node.protocol import HORIZON_S
from node.runtime.asked_grants import Grants
from node.runtime.parts import DeviceParts
from node.runtime.peers import MovedBuffer
from node.runtime.timekeeping import LogicalTime, PacedTime
from node.wire.checks import checked_size_bytes
from node.wire.commands import Operand, Push

_USER = "a push in flight"
_QUANTUM_WALL_S = 0.02
"""Wall time between two looks at the other owners of what a push loads [s]; small pushes are one quantum."""
_MAX_QUANTA = 256
_PATIENCE_S = 60.0
_PATIENCE = 1000.0
"""An owner is given up that grants nothing for the first and the second times what a push takes alone
[s of wall time, ratio]; hundreds may share it."""


class PushCall:
    """A push of one device.

    Model: the source's own tier and port, every destination's port and tier, and the links are each shared fairly by
    their owner; the push goes at the rate of the slowest. With pacing the owners are asked as it goes on: two quanta
    are always requested, so that the slowest is never idle. Without pacing the speeds of others count as if idle.
    """

    issued = False

    def __init__(self, push: Push, device: DeviceParts) -> None:
        self._push, self._device = push, device
        self._store, self._resources, self._peers = device.store, device.resources, device.peers
        self.queue = push.queue

    def execute(self, start_at: float) -> tuple[float, bool]:
        """Copies the bytes.

        Raises:
            NodeError: a range that is not there, or a peer that has gone.
        """
        try:
            return self._execute(start_at)
        except MovedBuffer:  # found out before anything was counted; the peer has been forgotten
            try:
                return self._execute(start_at)
            except MovedBuffer as error:
                raise error.__cause__ or error from None

    def _execute(self, start_at: float) -> tuple[float, bool]:
        with self._store.pinned(self._push.source.name, _USER):
            return self._from_pinned(start_at)

    def _from_pinned(self, start_at: float) -> tuple[float, bool]:
        push = self._push
        self._device.strikes.check(push)
        source, size_bytes = self._store.range_of(push.source.name, push.source.offset_bytes, push.source.shape)
        rate_limit = push.rate_limit_bytes_per_s or math.inf
        own, theirs = self._loads(source, size_bytes)
        time = self._device.timekeeper
        if isinstance(time, LogicalTime):
            for resource, weight in (*(load for side in theirs.values() for load in side), *self._link_loads()):
                rate_limit = min(rate_limit, resource.capacity / weight)
            use = Use(size_bytes, rate_limit, push.latency_s, own)
            return time.run(start_at, use, lambda: self._copy(source, size_bytes))
        if not theirs and not push.links:
            use = Use(size_bytes, rate_limit, push.latency_s, own)
            return time.run(start_at, use, lambda: self._copy(source, size_bytes))
        return self._paced(time, start_at, source, size_bytes, rate_limit, own, theirs)

    def _loads(self, source: StoredBuffer, size_bytes: int) -> tuple[Side, dict[str, Side]]:
        """What the push loads of this device, and of each peer."""
        push, resources = self._push, self._resources
        own: list[tuple[Side, float]] = [(resources.tier(source.tier.spec.name, writes=False), 1.0)]
        theirs: dict[str, Side] = {}
        for device, operand in push.destinations:
            if device == self._peers.own:
                target, target_bytes = self._store.range_of(operand.name, operand.offset_bytes, operand.shape)
                self._same_size(device, operand, size_bytes, target_bytes)
                own.append((resources.tier(target.tier.spec.name, writes=True), 1.0))
                continue
            peer = self._peers[device]
            place = peer.place(operand.name)
            if checked_size_bytes(place.dtype, operand.shape) != size_bytes:
                # It may have been allocated anew, of another type, since it was located.
                place = peer.place(operand.name, anew=True)
            self._same_size(device, operand, size_bytes, checked_size_bytes(place.dtype, operand.shape))
            there = peer.resources
            sides = [(theirs.get(device, ()), 1.0), (there.tier(place.tier, writes=True), 1.0)]
            sides.append((there.port(push.in_port, enters=True), 1.0))
            theirs[device] = joined(sides)
        if theirs:
            own.append((resources.port(push.out_port, enters=False), 1.0))
        return joined(own), theirs

    def _link_loads(self) -> Side:
        loads = []
        for link in self._push.links:
            if link not in self._device.config.links:
                known = ", ".join(self._device.config.links) or "none"
                raise PeerUnreachable(
                    f"{self._peers.own} pushes over {link!r}, which the topology lacks; it has {known}"
                )
            loads.append((SharedResource(link, self._device.config.links[link]), 1.0))
        return tuple(loads)

    def _same_size(self, device: str, operand: Operand, need_bytes: int, has_bytes: int) -> None:
        if need_bytes != has_bytes:
            raise ShapeMismatch(
                f"push of {need_bytes} bytes from {self._peers.own}.{self._push.source.name} to {has_bytes} bytes of "
                f"{device}.{operand.name}; both sides of a push have one size"
            )

    def _copy(self, source: StoredBuffer, size_bytes: int) -> None:
        push = self._push
        offset = push.source.offset_bytes
        with ExitStack() as stack:
            stack.enter_context(source.tier.held(source, offset, size_bytes, writes=False))
            data = source.tier.view(source, offset, size_bytes)
            data = self._device.strikes.passed(push, source.tier.spec.name, data)
            far = [(self._peers[device], operand) for device, operand in push.destinations if device != self._peers.own]
            landed = []
            for peer, operand in far:
                place = peer.place(operand.name)
                peer.deliver(place, operand, data)
                landed.append((peer, place.tier))
            for peer, tier in landed:
                peer.arrived(tier, push.in_port, size_bytes)
            for device, operand in push.destinations:
                if device == self._peers.own:
                    self._copy_here(operand, data)
        self._device.counters.read(source.tier.spec.name, size_bytes)
        self._device.counters.port(push.out_port, out_bytes=size_bytes)

    def _copy_here(self, operand: Operand, data: memoryview) -> None:
        with self._store.pinned(operand.name, _USER):
            target, size_bytes = self._store.range_of(operand.name, operand.offset_bytes, operand.shape)
            self._same_size(self._peers.own, operand, len(data), size_bytes)
            with target.tier.held(target, operand.offset_bytes, size_bytes, writes=True):
                copy_bytes(target.tier.view(target, operand.offset_bytes, size_bytes), data)
        self._device.counters.written(target.tier.spec.name, size_bytes)

    def _paced(
        self,
        time: PacedTime,
        start_at: float,
        source: StoredBuffer,
        size_bytes: int,
        rate_limit: float,
        own: Side,
        theirs: Mapping[str, Side],
    ) -> tuple[float, bool]:
        clock, pacer = time.clock, time.pacer
        flows_at = start_at + self._push.latency_s
        links = self._link_loads()
        owners: list[tuple[Grants, Side]] = [(self._peers[device].grants, side) for device, side in theirs.items()]
        if links and self._peers.arbiter is not None:
            owners.append((self._peers.arbiter, links))
        everything = (*own, *(load for _, side in owners for load in side))
        alone_s = Use(size_bytes, rate_limit, 0.0, everything).alone_s
        marks = self._marks(clock.dilation, size_bytes, alone_s)
        taken_s = (self._push.latency_s + alone_s * _PATIENCE) * clock.dilation
        patience_s = min(_PATIENCE_S + taken_s, HORIZON_S)
        clock.sleep_until(start_at)
        ahead = min(2, len(marks))
        flow = pacer.open(marks[ahead - 1], rate_limit, own, flows_at)
        limit = 0.0 if math.isinf(rate_limit) else rate_limit
        asked = [(grants, grants.open(side, flows_at, limit, marks[0], len(marks) == 1)) for grants, side in owners]
        try:
            for place in range(1, ahead):
                for grants, number in asked:
                    grants.extend(number, marks[place], place == len(marks) - 1)
            self._copy(source, size_bytes)
            worked_until = clock.now()
            end_at = flows_at
            for place, mark in enumerate(marks):
                end_at = max(
                    [pacer.wait(flow, mark), *(grants.reached(number, patience_s) for grants, number in asked)]
                )
                following = place + ahead
                if following < len(marks):
                    pacer.extend(flow, marks[following])
                    for grants, number in asked:
                        grants.extend(number, marks[following], following == len(marks) - 1)
        finally:
            pacer.close(flow)
            for grants, number in asked:
                grants.close(number)
        clock.sleep_until(end_at)
        return (worked_until, True) if worked_until > end_at else (end_at, False)

    @staticmethod
    def _marks(dilation: float, size_bytes: int, alone_s: float) -> list[int]:
        """Cumulative bytes at the end of each quantum."""
        quanta = max(1, min(_MAX_QUANTA, size_bytes, round(alone_s * dilation / _QUANTUM_WALL_S)))
        return [size_bytes * (number + 1) // quanta for number in range(quanta)]
