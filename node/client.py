"""The way to a node from outside: plain calls, and the command stream.

Every call has a deadline, raises the errors of `node.errors` and is safe to use from several threads. Arrays are numpy;
a type that numpy lacks travels as its bits: bf16 as uint16 (see `bf16_values`), fp8 as uint8.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from node.buffer_client import BufferClient
from node.errors import PeerUnreachable
from node.protocol import ARBITER, BATCH_TIMEOUT_S, DEFAULT_DEADLINE_S, FLASH_DEADLINE_S, WAIT_S
from node.rpc import node_pb2, node_pb2_grpc
from node.wire.arrays import bf16_bits, bf16_values
from node.wire.channel import open_channel
from node.wire.command_stream import CommandStream
from node.wire.commands import Allocate, Command, CommandCompletion, LaunchKernel, Operand, Push, Release
from node.wire.credentials import Credentials, certificate_name, credentials_from_data
from node.wire.description import BufferInfo, Description, TierTransactions, TierUse, description_of
from node.wire.specs import spec_to_data

__all__ = [
    "Allocate",
    "ArbiterClient",
    "BufferInfo",
    "Command",
    "CommandCompletion",
    "Credentials",
    "Description",
    "Release",
    "LaunchKernel",
    "NodeClient",
    "Operand",
    "Push",
    "TierTransactions",
    "TierUse",
    "bf16_bits",
    "bf16_values",
    "certificate_name",
    "credentials_from_data",
    "spec_to_data",
]


class NodeClient(BufferClient):
    """One node: its buffers, and everything else that it does."""

    def __init__(
        self,
        target: str,
        device: str,
        unreachable: Callable[[str], Exception] = PeerUnreachable,
        deadline_s: float = DEFAULT_DEADLINE_S,
        credentials: Credentials | None = None,
        *,
        mapped: bool = False,
    ) -> None:
        super().__init__(target, device, unreachable, deadline_s, credentials, mapped=mapped)
        self._stream = CommandStream(device, self.stub, self.error_of)

    def describe(self) -> Description:
        """What the node is and holds."""
        with self._errors():
            return description_of(self.stub.Describe(node_pb2.DescribeRequest(), timeout=self._deadline_s))

    def submit(
        self, commands: Sequence[Command], *, ready_at: float, timeout_s: float = BATCH_TIMEOUT_S
    ) -> Future[list[CommandCompletion]]:
        """Sends commands as one batch; the result has one completion each, in order, failed ones with an error.

        Args:
            commands: in the order of their queues.
            ready_at: no command starts earlier [device time, s].
            timeout_s: how long commands wait for their events [s of wall time].

        Raises:
            MessageTooLarge: more commands than fit one message.
            BadAttribute, OutOfRange: an invalid command.
        """
        if self._gone is not None:
            raise self._gone
        return self._stream.submit(commands, ready_at, timeout_s)

    def wait(self, events: Sequence[int], timeout_s: float = DEFAULT_DEADLINE_S) -> tuple[float, ...]:
        """When events ended [device time, s]; blocks until they have.

        Raises:
            WaitTimeout: one has not ended in time.
            NodeError: one has failed; says why.
        """
        request = node_pb2.WaitRequest(id=events, timeout_s=timeout_s)
        with self._errors():
            return tuple(self.stub.Wait(request, timeout=timeout_s + 5.0).end_at)

    def is_serving(self, timeout_s: float = DEFAULT_DEADLINE_S) -> bool:
        """Whether the node says that it serves."""
        request = health_pb2.HealthCheckRequest(service="windtunnel.node.v1.Node")
        with self._errors():
            reply = health_pb2_grpc.HealthStub(self.channel).Check(request, timeout=timeout_s, wait_for_ready=True)
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    def meet(self, addresses: Mapping[str, tuple[str, str]], arbiter: str = "") -> None:
        """Tells the node where the others listen.

        Args:
            addresses: (host, target) by device, of the whole run.
            arbiter: where the arbiter listens; "" without pacing.

        Raises:
            BadAttribute: it knows other addresses already.
            UnsecuredAddress: an address that strangers reach, and the node has no credentials.
        """
        peers = [
            node_pb2.PeerAddress(device=device, host=host, target=target)
            for device, (host, target) in addresses.items()
        ]
        with self._errors():
            self.stub.Meet(node_pb2.MeetRequest(peers=peers, arbiter=arbiter), timeout=self._deadline_s)

    def start_clock(self, epoch: float) -> None:
        """Sets device time 0 to an instant of its monotonic clock [s]; nothing may be running."""
        with self._errors():
            self.stub.StartClock(node_pb2.StartClockRequest(epoch=epoch), timeout=self._deadline_s)

    def strike(
        self,
        throttled: Mapping[str, tuple[float, float]] | None = None,
        dropped: Collection[str] = (),
        corrupt: Mapping[tuple[str, str], float] | None = None,
        seed: int = 0,
    ) -> None:
        """Says what is wrong with the device from now on, on purpose; without arguments nothing is.

        Args:
            throttled: shares of the capacity that are left for reads and writes, by tier or port.
            dropped: links that carry nothing: pushes over them fail.
            corrupt: share of the pushes that are changed in one bit, by what they pass: ``("device", NAME)``,
                ``("tier", "DEVICE.TIER")`` or ``("link", NAME)``.
            seed: of which ones.

        Raises:
            BadAttribute: no such tier or port, or a share that is none.
        """
        request = node_pb2.StrikeRequest(
            throttled=[
                node_pb2.ThrottledPart(part=part, read_ratio=read, write_ratio=write)
                for part, (read, write) in sorted((throttled or {}).items())
            ],
            dropped_links=sorted(dropped),
            corrupt=[
                node_pb2.CorruptPart(kind=kind, name=name, share=share)
                for (kind, name), share in sorted((corrupt or {}).items())
            ],
            seed=seed,
        )
        with self._errors():
            self.stub.Strike(request, timeout=self._deadline_s)

    def counters(self, *, reset: bool = False) -> node_pb2.CountersReply:
        """Bytes, FLOP and busy time of each tier, unit and port."""
        with self._errors():
            return self.stub.Counters(node_pb2.CountersRequest(reset=reset), timeout=self._deadline_s)

    def prepare(self, transaction: str, participants: Sequence[str]) -> int:
        """Makes what was written to flash ready to be committed; returns the bytes written [bytes].

        Args:
            transaction: name of the commit, never used twice.
            participants: devices that commit together.
        """
        with self._errors():
            request = node_pb2.PrepareRequest(transaction=transaction, participants=participants)
            return int(self.stub.Prepare(request, timeout=FLASH_DEADLINE_S).written_bytes)

    def commit(self, transaction: str) -> None:
        """Makes what was prepared survive the process."""
        with self._errors():
            self.stub.Commit(node_pb2.CommitRequest(transaction=transaction), timeout=FLASH_DEADLINE_S)

    def abandon(self) -> None:
        """Forgets what was prepared and not committed."""
        with self._errors():
            self.stub.Abandon(node_pb2.AbandonRequest(), timeout=FLASH_DEADLINE_S)

    def transactions(self) -> tuple[TierTransactions, ...]:
        """What each flash tier has committed last, and what it has prepared."""
        with self._errors():
            reply = self.stub.Transactions(node_pb2.TransactionsRequest(), timeout=self._deadline_s)
        return tuple(
            TierTransactions(tier.tier, tier.committed, tier.prepared, tuple(tier.participants)) for tier in reply.tiers
        )

    def heartbeats(self) -> Iterator[None]:
        """Something every `HEARTBEAT_S` for as long as the node answers and this client is open."""
        with self._errors():
            for _ in self.stub.Heartbeats(node_pb2.HeartbeatsRequest(), timeout=WAIT_S):
                yield

    def shutdown(self) -> None:
        """Ends the process."""
        with self._errors():
            self.stub.Shutdown(node_pb2.ShutdownRequest(), timeout=self._deadline_s)

    def gone(self, error: Exception) -> None:
        """Says from outside that the node has died: everything in flight and everything later fails with `error`."""
        self._gone = error
        self._stream.fail(error)
        self.channel.close()  # ends the calls that wait for it

    def close(self) -> None:
        """Closes the channel."""
        self._stream.close()
        self.channel.close()


class ArbiterClient:
    """The arbiter of the links of a run."""

    def __init__(
        self,
        target: str,
        unreachable: Callable[[str], Exception] = PeerUnreachable,
        credentials: Credentials | None = None,
    ) -> None:
        self._unreachable = unreachable
        self._channel = open_channel(target, ARBITER, credentials)
        self._stub = node_pb2_grpc.ArbiterStub(self._channel)

    def start_clock(self, epoch: float) -> None:
        """As `NodeClient.start_clock`."""
        try:
            self._stub.StartClock(node_pb2.StartClockRequest(epoch=epoch), timeout=DEFAULT_DEADLINE_S)
        except grpc.RpcError as call:
            raise self._unreachable(f"the arbiter of the links does not answer ({call.details()})") from None

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()
