"""Streams to the other nodes of the run: what has ended, what has arrived, and a share of their ports."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread

import grpc

from node.client import NodeClient
from node.errors import BadAttribute, DtypeMismatch, PeerUnreachable, UnknownTier
from node.memory.attach import Attachment, Segment
from node.memory.resources import DeviceResources
from node.memory.tensors import copy_bytes
from node.protocol import ARBITER
from node.rpc import node_pb2, node_pb2_grpc
from node.runtime.asked_grants import Grants
from node.runtime.events import Cause
from node.wire.channel import open_channel
from node.wire.checks import checked_range
from node.wire.commands import Operand
from node.wire.credentials import Credentials, check_target
from node.wire.turns import Turn, turns

_DRAIN = 2048
"""How many events one signal message carries at most."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node listens and in which chassis it is."""

    target: str
    host: str


class MovedBuffer(Exception):
    """A peer's buffer lies in another tier, or holds another type, than when it was located; its cause says which."""


@dataclass(frozen=True, slots=True)
class PeerBuffer:
    """A buffer of a peer.

    Attributes:
        attachment: its bytes, mapped; None when they must be sent.
        size_bytes, tier, dtype: of the buffer.
    """

    attachment: Attachment | None
    size_bytes: int
    tier: str
    dtype: str


_Signal = node_pb2.SignalMessage | tuple[int, float | Cause]


class Peer:
    """One other node.

    Attributes:
        name: of its device.
        mapped: whether its memory is mapped here, so that a push is one copy; else bytes travel by a stream of `Write`.
    """

    def __init__(self, own: str, name: str, target: str, mapped: bool, credentials: Credentials | None) -> None:
        self.name, self.mapped = name, mapped
        self._own = own
        self._client = NodeClient(target, name, credentials=credentials)
        self.grants = Grants(name, self._client.stub)
        self._outbox: SimpleQueue[_Signal] = SimpleQueue()
        self._places: dict[str, PeerBuffer] = {}
        self._resources: DeviceResources | None = None
        self._lock = Lock()
        self._signalling = False

    @property
    def resources(self) -> DeviceResources:
        """What the peer is made of."""
        if self._resources is None:
            self._resources = DeviceResources(self.name, self._client.describe().spec)
        return self._resources

    def signal(self, event: int, outcome: float | Cause) -> None:
        """Tells it how an event ended."""
        self._begin()
        self._outbox.put((event, outcome))

    def arrived(self, tier: str, port: str, size_bytes: int) -> None:
        """Tells it that bytes have been copied into its memory."""
        self._begin()
        arrival = node_pb2.Arrival(tier=tier, port=port, size_bytes=size_bytes)
        self._outbox.put(node_pb2.SignalMessage(device=self._own, arrivals=[arrival]))

    def deliver(self, place: PeerBuffer, operand: Operand, data: memoryview) -> None:
        """Copies bytes into a buffer of the peer.

        Raises:
            UnknownBuffer, OutOfRange: of the peer's buffer.
            MovedBuffer: it was freed and allocated otherwise since `place` was asked for; ask again.
            PeerUnreachable: it has gone.
        """
        while place.attachment is not None:
            with place.attachment.pinned() as current:
                if current:
                    checked_range(f"{self.name}.{operand.name}", operand.offset_bytes, len(data), place.size_bytes)
                    copy_bytes(place.attachment.bytes[operand.offset_bytes : operand.offset_bytes + len(data)], data)
                    return
            now = self.place(operand.name)  # the peer has freed something since, perhaps this
            if (now.dtype, now.tier) != (place.dtype, place.tier):
                text = f"{self.name}.{operand.name} was {place.dtype} in {place.tier}, is {now.dtype} in {now.tier} now"
                raise MovedBuffer(text) from DtypeMismatch(f"{text}; free it after the push has ended")
            place = now
        if len(data):
            # What is not mapped may have been allocated anew since it was located: the peer checks all that we know.
            try:
                self._client.write_bytes(
                    operand.name, data, operand.offset_bytes, pushed=True, dtype=place.dtype, tier=place.tier
                )
            except (DtypeMismatch, UnknownTier) as error:
                self._places.pop(operand.name, None)
                raise MovedBuffer(str(error)) from error

    def place(self, name: str, *, anew: bool = False) -> PeerBuffer:
        """Where a buffer of the peer is, mapped here when both are in one chassis and it can be.

        Args:
            name: of the buffer.
            anew: ask the peer even if it was asked before; what is not mapped may be another buffer by now.

        Raises:
            UnknownBuffer: it has none of that name.
            PeerUnreachable: it has gone.
        """
        known = self._places.get(name)
        if known is not None and (not anew if known.attachment is None else known.attachment.current):
            return known
        location = self._client.locate(name)
        attachment = None
        if location.mappable and self.mapped:
            segment = Segment(
                location.process,
                location.descriptor,
                location.inode,
                location.offset_bytes,
                location.buffer.size_bytes,
                location.generation,
            )
            if known is not None and known.attachment is not None and known.attachment.renewed(segment):
                return known
            attachment = Attachment(segment)
        buffer = location.buffer
        place = self._places[name] = PeerBuffer(attachment, buffer.size_bytes, buffer.tier, buffer.dtype)
        return place

    def _begin(self) -> None:
        with self._lock:
            if not self._signalling:
                self._signalling = True
                Thread(target=self._send, name=f"signal.{self.name}", daemon=True).start()

    def _send(self) -> None:
        try:
            calls: Iterator[Turn[_Signal]] = turns(self._outbox)
            for turn in calls:
                self._client.stub.Signal(self._messages(turn), timeout=turn.deadline_s)
        except grpc.RpcError:
            # The controller watches every process and ends the run; here nobody is left to be told.
            return

    def _messages(self, entries: Iterable[_Signal]) -> Iterator[node_pb2.SignalMessage]:
        for first in entries:
            message = node_pb2.SignalMessage(device=self._own)
            entry = first
            for _ in range(_DRAIN):
                if isinstance(entry, node_pb2.SignalMessage):
                    message.arrivals.extend(entry.arrivals)
                else:
                    event, outcome = entry
                    message.id.append(event)
                    if isinstance(outcome, Cause):
                        message.end_at.append(math.nan)
                        message.failures.add(type=outcome.type, text=outcome.text, cause=outcome.id)
                    else:
                        message.end_at.append(outcome)
                try:
                    entry = self._outbox.get_nowait()
                except Empty:
                    break
            else:
                self._outbox.put(entry)
            yield message


class Peers:
    """The other nodes of the run by name, and the arbiter of the links."""

    def __init__(
        self,
        own: str,
        host: str,
        addresses: Mapping[str, Address],
        arbiter: str,
        credentials: Credentials | None = None,
        share_memory: bool = True,
    ) -> None:
        self.own, self.host = own, host
        self._credentials, self._share_memory = credentials, share_memory
        self._addresses: Mapping[str, Address] = {}
        self._arbiter = ""
        self._peers: dict[str, Peer] = {}
        self._lock = Lock()
        self.arbiter: Grants | None = None
        if addresses or arbiter:
            self.meet(addresses, arbiter)

    def meet(self, addresses: Mapping[str, Address], arbiter: str) -> None:
        """Learns where the others listen; once, and again as long as it is the same.

        Raises:
            BadAttribute: other addresses than before.
            UnsecuredAddress: an address that strangers reach, and this node has no credentials.
        """
        for target in (*(address.target for address in addresses.values()), *filter(None, [arbiter])):
            check_target(target, self._credentials)
        with self._lock:
            if not self._addresses and not self._arbiter:
                self._addresses, self._arbiter = dict(addresses), arbiter
                if arbiter:
                    channel = open_channel(arbiter, ARBITER, self._credentials)
                    self.arbiter = Grants("the arbiter", node_pb2_grpc.ArbiterStub(channel))
            elif (self._addresses, self._arbiter) != (addresses, arbiter):
                raise BadAttribute(
                    f"{self.own} has met its peers already, at other addresses; start the run again to move them"
                )

    def __getitem__(self, name: str) -> Peer:
        peer = self._peers.get(name)
        if peer is None:
            with self._lock:
                self.known((name,))
                peer = self._peers.get(name)
                if peer is None:
                    address = self._addresses[name]
                    mapped = self._share_memory and address.host == self.host
                    peer = self._peers[name] = Peer(self.own, name, address.target, mapped, self._credentials)
        return peer

    def tell(self, names: Sequence[str], event: int, outcome: float | Cause) -> None:
        """Tells peers how an event ended."""
        for name in names:
            if name != self.own:
                self[name].signal(event, outcome)

    def known(self, names: Sequence[str]) -> None:
        """Checks names before anything runs that would tell them.

        Raises:
            PeerUnreachable: no node of that name.
        """
        for name in names:
            if name != self.own and name not in self._addresses:
                known = ", ".join(self._addresses) or "none"
                raise PeerUnreachable(f"{self.own} knows no node {name!r}; its peers are {known}")
