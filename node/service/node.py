"""The Node service: unpack, call, pack."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event as Gate

import grpc

from node.clock import machine, wall_now
from node.errors import BadAttribute, DtypeMismatch, NodeError, UnknownTier, WaitTimeout
from node.memory.arena import SharedArena
from node.memory.tensors import copy_bytes
from node.memory.tier import StoredBuffer
from node.protocol import CHUNK_BYTES, HEARTBEAT_S, WAIT_S
from node.rpc import node_pb2, node_pb2_grpc
from node.runtime.device import EmulatedDevice
from node.runtime.events import DependencyFailed
from node.runtime.peers import Address
from node.runtime.strikes import Impairment
from node.service.batches import ServedStream
from node.service.grants import grants
from node.service.signals import take_signal
from node.service.status import end_with, statuses
from node.service.streams import Streams
from node.wire.checks import checked_epoch, checked_number, checked_range, saturated
from node.wire.specs import spec_to_json

_LOOK_S = 0.5
"""How often a call that waits looks whether somebody still wants the answer [s of wall time]."""


class NodeService(node_pb2_grpc.NodeServicer):
    """Serves one device."""

    def __init__(self, device: EmulatedDevice, stop: Gate) -> None:
        self._device, self._stop = device, stop
        self._commands: Streams[node_pb2.Batch, node_pb2.BatchReply] = Streams(
            lambda batches, replies: ServedStream(device, replies).begin(batches)
        )
        self._grants = grants(lambda: device.grants)

    def Describe(self, request: node_pb2.DescribeRequest, context: grpc.ServicerContext) -> node_pb2.Description:
        """See the contract in proto/node/rpc/node.proto."""
        device = self._device
        return node_pb2.Description(
            device=device.config.device,
            host=device.config.host,
            spec_json=spec_to_json(device.config.spec),
            process=os.getpid(),
            dilation=device.config.dilation or 0.0,
            buffers=[_info(buffer) for buffer in device.store.buffers],
            tiers=[
                node_pb2.TierUse(
                    tier=name,
                    capacity_bytes=saturated(tier.spec.capacity_bytes),
                    used_bytes=saturated(tier.used_bytes),
                    peak_bytes=saturated(tier.peak_bytes),
                )
                for name, tier in device.store.tiers.items()
            ],
            machine=machine(),
            clock_now=wall_now(),
        )

    def Allocate(self, request: node_pb2.AllocateRequest, context: grpc.ServicerContext) -> node_pb2.BufferInfo:
        """See the contract in proto/node/rpc/node.proto."""
        with statuses(context):
            return _info(self._device.store.allocate(request.name, request.tier, request.dtype, tuple(request.shape)))

    def Free(self, request: node_pb2.FreeRequest, context: grpc.ServicerContext) -> node_pb2.FreeReply:
        """See the contract in proto/node/rpc/node.proto."""
        with statuses(context):
            return node_pb2.FreeReply(freed_bytes=self._device.store.free(request.name))

    def Write(self, chunks: Iterator[node_pb2.WriteChunk], context: grpc.ServicerContext) -> node_pb2.WriteReply:
        """See the contract in proto/node/rpc/node.proto."""
        with statuses(context), ExitStack() as stack:
            first = next(chunks, None)
            if first is None:
                raise BadAttribute("a write without a chunk; send at least one, with the name of the buffer")
            user = "a push of a peer" if first.pushed else "a write that has not ended"
            buffer = stack.enter_context(self._device.store.pinned(first.name, user))
            checked_range(first.name, first.offset_bytes, first.total_bytes, buffer.size_bytes)
            if first.dtype and first.dtype != buffer.dtype:
                raise DtypeMismatch(
                    f"{first.name} holds {buffer.dtype}, the write says {first.dtype}; read its dtype again"
                )
            if first.tier and first.tier != buffer.tier.spec.name:
                raise UnknownTier(
                    f"{first.name} lies in {buffer.tier.spec.name}, the write says {first.tier}; locate it again"
                )
            end, at = first.offset_bytes + first.total_bytes, first.offset_bytes
            chunk: node_pb2.WriteChunk | None = first
            while chunk is not None:
                size = len(chunk.data)
                checked_range(first.name, at, size, end)
                if size:
                    with buffer.tier.held(buffer, at, size, writes=True):
                        copy_bytes(buffer.tier.view(buffer, at, size), memoryview(chunk.data))
                at += size
                chunk = next(chunks, None)
            if at != end:
                raise BadAttribute(
                    f"a write of {first.total_bytes} bytes to {first.name} ended {end - at} bytes early; send them all"
                )
            spec = buffer.tier.spec
            if not first.pushed:
                self._device.counters.loaded(spec.name, first.total_bytes + first.mapped_bytes)
            device_s = spec.write_latency_s + first.total_bytes / spec.write_bytes_per_s
            return node_pb2.WriteReply(written_bytes=first.total_bytes, device_s=device_s)

    def Read(self, request: node_pb2.ReadRequest, context: grpc.ServicerContext) -> Iterator[node_pb2.ReadChunk]:
        """See the contract in proto/node/rpc/node.proto."""
        try:
            with self._device.store.pinned(request.name, "a read that has not ended") as buffer:
                yield from self._chunks(request, buffer)
        except NodeError as error:
            end_with(context, error)

    def Stream(self, batches: Iterator[node_pb2.Batch], context: grpc.ServicerContext) -> Iterator[node_pb2.BatchReply]:
        """See the contract in proto/node/rpc/node.proto."""
        return self._commands.serve(batches, context)

    def Wait(self, request: node_pb2.WaitRequest, context: grpc.ServicerContext) -> node_pb2.WaitReply:
        """See the contract in proto/node/rpc/node.proto."""
        with statuses(context):
            events = self._device.events
            timeout_s = checked_number("timeout_s", request.timeout_s, "s", WAIT_S)
            until = wall_now() + timeout_s
            while True:
                look = min(until, wall_now() + _LOOK_S)
                try:
                    events.wait(request.id, 0.0, look)
                    break
                except DependencyFailed as error:
                    raise NodeError(str(error)) from error
                except WaitTimeout:
                    if look >= until or not context.is_active():
                        raise
            outcomes = (events.outcome(event) for event in request.id)
            return node_pb2.WaitReply(end_at=[outcome for outcome in outcomes if isinstance(outcome, float)])

    def Locate(self, request: node_pb2.LocateRequest, context: grpc.ServicerContext) -> node_pb2.Location:
        """See the contract in proto/node/rpc/node.proto."""
        with statuses(context):
            buffer = self._device.store.find(request.name)
            tier = buffer.tier
            if not isinstance(tier, SharedArena):
                return node_pb2.Location(buffer=_info(buffer))
            generation = tier.generation
            buffer = self._device.store.find(request.name)  # again: the generation is older than what it vouches for
            return node_pb2.Location(
                buffer=_info(buffer),
                mappable=True,
                process=os.getpid(),
                descriptor=tier.descriptor,
                inode=tier.inode,
                offset_bytes=buffer.place,
                generation=generation,
            )

    def Signal(self, messages: Iterator[node_pb2.SignalMessage], context: grpc.ServicerContext) -> node_pb2.SignalReply:
        """See the contract in proto/node/rpc/node.proto."""
        with statuses(context):
            for message in messages:
                take_signal(self._device, message)
        return node_pb2.SignalReply()

    def Grant(
        self, requests: Iterator[node_pb2.GrantRequest], context: grpc.ServicerContext
    ) -> Iterator[node_pb2.GrantReply]:
        """See the contract in proto/node/rpc/node.proto."""
        return self._grants.serve(requests, context)

    def Meet(self, request: node_pb2.MeetRequest, context: grpc.ServicerContext) -> node_pb2.MeetReply:
        """See the contract in proto/node/rpc/node.proto."""
        with statuses(context):
            addresses: dict[str, Address] = {}
            for peer in request.peers:
                if not peer.target or peer.device in addresses:
                    raise BadAttribute(
                        f"{peer.device!r} is met twice or listens nowhere; name each node once, and where"
                    )
                addresses[peer.device] = Address(peer.target, peer.host)
            addresses.pop(self._device.config.device, None)
            self._device.peers.meet(addresses, request.arbiter)
        return node_pb2.MeetReply()

    def StartClock(
        self, request: node_pb2.StartClockRequest, context: grpc.ServicerContext
    ) -> node_pb2.StartClockReply:
        """See the contract in proto/node/rpc/node.proto."""
        with statuses(context):
            self._device.start_clock(checked_epoch(request.epoch, wall_now()))
        return node_pb2.StartClockReply()

    def Counters(self, request: node_pb2.CountersRequest, context: grpc.ServicerContext) -> node_pb2.CountersReply:
        """See the contract in proto/node/rpc/node.proto."""
        totals = self._device.counters.taken(reset=request.reset)
        return node_pb2.CountersReply(
            tiers=[
                node_pb2.TierCounter(
                    tier=name,
                    read_bytes=saturated(count.read_bytes),
                    written_bytes=saturated(count.written_bytes),
                    busy_s=count.busy_s,
                    loaded_bytes=saturated(count.loaded_bytes),
                    fetched_bytes=saturated(count.fetched_bytes),
                )
                for name, count in totals.tiers.items()
            ],
            units=[
                node_pb2.UnitCounter(
                    unit=name, flop=count.flop, busy_s=count.busy_s, launches=saturated(count.launches)
                )
                for name, count in totals.units.items()
            ],
            ports=[
                node_pb2.PortCounter(
                    port=name,
                    out_bytes=saturated(count.out_bytes),
                    in_bytes=saturated(count.in_bytes),
                    busy_s=count.busy_s,
                )
                for name, count in totals.ports.items()
            ],
            commands=saturated(totals.commands),
            failures=saturated(totals.failures),
            overruns=saturated(totals.overruns),
            corrupted=saturated(self._device.strikes.corrupted),
        )

    def Strike(self, request: node_pb2.StrikeRequest, context: grpc.ServicerContext) -> node_pb2.StrikeReply:
        """See the contract in proto/node/rpc/node.proto."""
        with statuses(context):
            self._device.strikes.set(
                Impairment(
                    {each.part: (each.read_ratio, each.write_ratio) for each in request.throttled},
                    frozenset(request.dropped_links),
                    {(each.kind, each.name): each.share for each in request.corrupt},
                    request.seed,
                )
            )
        return node_pb2.StrikeReply()

    def Prepare(self, request: node_pb2.PrepareRequest, context: grpc.ServicerContext) -> node_pb2.PrepareReply:
        """See the contract in proto/node/rpc/node.proto."""
        with statuses(context):
            written = self._device.store.prepare(request.transaction, request.participants)
            return node_pb2.PrepareReply(written_bytes=written)

    def Commit(self, request: node_pb2.CommitRequest, context: grpc.ServicerContext) -> node_pb2.CommitReply:
        """See the contract in proto/node/rpc/node.proto."""
        with statuses(context):
            self._device.store.commit(request.transaction)
        return node_pb2.CommitReply()

    def Abandon(self, request: node_pb2.AbandonRequest, context: grpc.ServicerContext) -> node_pb2.AbandonReply:
        """See the contract in proto/node/rpc/node.proto."""
        with statuses(context):
            self._device.store.abandon()
        return node_pb2.AbandonReply()

    def Transactions(
        self, request: node_pb2.TransactionsRequest, context: grpc.ServicerContext
    ) -> node_pb2.TransactionsReply:
        """See the contract in proto/node/rpc/node.proto."""
        tiers = []
        for tier in self._device.store.flash:
            ready = tier.prepared
            tiers.append(
                node_pb2.TierTransactions(
                    tier=tier.spec.name,
                    committed=tier.committed,
                    prepared=ready.transaction if ready else "",
                    participants=ready.participants if ready else (),
                )
            )
        return node_pb2.TransactionsReply(tiers=tiers)

    def Heartbeats(
        self, request: node_pb2.HeartbeatsRequest, context: grpc.ServicerContext
    ) -> Iterator[node_pb2.Heartbeat]:
        """See the contract in proto/node/rpc/node.proto."""
        ended = Gate()
        context.add_callback(ended.set)
        while not ended.wait(HEARTBEAT_S):
            yield node_pb2.Heartbeat()

    def Shutdown(self, request: node_pb2.ShutdownRequest, context: grpc.ServicerContext) -> node_pb2.ShutdownReply:
        """See the contract in proto/node/rpc/node.proto."""
        self._stop.set()
        return node_pb2.ShutdownReply()

    def _chunks(self, request: node_pb2.ReadRequest, buffer: StoredBuffer) -> Iterator[node_pb2.ReadChunk]:
        size = request.size_bytes or max(0, buffer.size_bytes - request.offset_bytes)
        checked_range(request.name, request.offset_bytes, size, buffer.size_bytes)
        self._device.counters.fetched(buffer.tier.spec.name, size)
        end = request.offset_bytes + size
        for start in range(request.offset_bytes, max(end, request.offset_bytes + 1), CHUNK_BYTES):
            length = min(CHUNK_BYTES, end - start)
            with buffer.tier.held(buffer, start, length, writes=False):
                data = bytes(buffer.tier.view(buffer, start, length))
            first = start == request.offset_bytes
            yield node_pb2.ReadChunk(data=data, buffer=_info(buffer) if first else None)


def _info(buffer: StoredBuffer) -> node_pb2.BufferInfo:
    tier, size_bytes = buffer.tier.spec.name, buffer.size_bytes
    return node_pb2.BufferInfo(
        name=buffer.name, tier=tier, dtype=buffer.dtype, shape=buffer.shape, size_bytes=size_bytes
    )  # fmt: skip
