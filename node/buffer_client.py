"""The buffers of a node from outside, and what every call to a node shares: its channel, deadline and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt

from node.errors import DtypeMismatch, NodeError, OutOfRange, PeerUnreachable
from node.hardware.operation import ITEM_BYTES
from node.memory.attach import Segment, write_once
from node.protocol import CHUNK_BYTES, DEFAULT_DEADLINE_S
from node.rpc import node_pb2, node_pb2_grpc
from node.wire.arrays import NUMPY_DTYPES, bf16_bits
from node.wire.channel import open_channel
from node.wire.checks import checked_range, checked_size_bytes
from node.wire.credentials import Credentials
from node.wire.status import error_of_call

MAPPED_BYTES = 1 << 20
"""Writes from this size on go into a node's memory directly; locating the buffer costs as much as sending less."""


class BufferClient:
    """The buffers of one node.

    Attributes:
        device: name of the node.
        stub: the generated client, for calls that have no method here.
    """

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
        """Makes a channel; nothing is sent yet.

        Args:
            target: as gRPC names it, ``unix:/path`` or ``ADDRESS:PORT``.
            device: name, for errors.
            unreachable: makes the error that is raised when the node does not answer.
            deadline_s: of each call [s of wall time].
            credentials: of this side, for a node that demands TLS and a token; None for a plain channel.
            mapped: the node is on this machine, so that large writes are one copy into its memory.
        """
        self.device, self._unreachable, self._deadline_s = device, unreachable, deadline_s
        self.channel = open_channel(target, device, credentials)
        self.stub = node_pb2_grpc.NodeStub(self.channel)
        self._dtypes: dict[str, str] = {}
        self._mapped = mapped
        self._gone: Exception | None = None

    def allocate(self, name: str, tier: str, dtype: str, shape: Sequence[int]) -> None:
        """A new buffer of zeros.

        Raises:
            BadName, DtypeMismatch, ShapeMismatch, UnknownTier, BufferExists: of the request.
            TierFull: it does not fit.
        """
        checked_size_bytes(dtype, shape)
        request = node_pb2.AllocateRequest(name=name, tier=tier, dtype=dtype, shape=shape)
        with self._errors():
            self.stub.Allocate(request, timeout=self._deadline_s)
        self._dtypes[name] = dtype

    def free(self, name: str) -> None:
        """Gives a buffer back.

        Raises:
            UnknownBuffer: there is none of that name.
        """
        self._dtypes.pop(name, None)
        with self._errors():
            self.stub.Free(node_pb2.FreeRequest(name=name), timeout=self._deadline_s)

    def write(self, name: str, array: npt.NDArray[Any], offset_bytes: int = 0) -> None:
        """Fills a range of a buffer.

        Args:
            name: of the buffer.
            array: of the buffer's type; for bf16 either its bits (uint16) or fp32, which is rounded to nearest even.
            offset_bytes: where the range starts [bytes].

        Raises:
            UnknownBuffer, OutOfRange: no such range.
            DtypeMismatch: an array of another type.
        """
        dtype = self._dtypes.get(name) or self._dtype_of(name)
        if dtype == "bf16" and array.dtype == np.float32:
            array = bf16_bits(array)
        if array.dtype != np.dtype(NUMPY_DTYPES[dtype]):
            raise DtypeMismatch(
                f"{self.device}.{name} holds {dtype}, written as {np.dtype(NUMPY_DTYPES[dtype])}; the array is "
                f"{array.dtype}; convert it first"
            )
        self.write_bytes(name, np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, offset_bytes, dtype=dtype)

    def write_bytes(
        self,
        name: str,
        data: memoryview,
        offset_bytes: int = 0,
        *,
        pushed: bool = False,
        dtype: str = "",
        tier: str = "",
    ) -> None:
        """Fills a range of a buffer with raw bytes; `pushed` by a peer, not loaded from outside.

        Raises:
            UnknownBuffer, OutOfRange: no such range.
            DtypeMismatch, UnknownTier: `dtype` or `tier` is given and the buffer holds, or lies in, another.
        """
        if offset_bytes < 0:
            raise OutOfRange(f"offset {offset_bytes} bytes of {self.device}.{name} is negative")

        if (
            self._mapped
            and len(data) >= MAPPED_BYTES
            and not pushed
            and self._write_mapped(name, data, offset_bytes, dtype)
        ):
            return

        def chunks() -> Iterator[node_pb2.WriteChunk]:
            yield node_pb2.WriteChunk(
                name=name,
                offset_bytes=offset_bytes,
                total_bytes=len(data),
                data=bytes(data[:CHUNK_BYTES]),
                pushed=pushed,
                dtype=dtype,
                tier=tier,
            )
            for start in range(CHUNK_BYTES, len(data), CHUNK_BYTES):
                yield node_pb2.WriteChunk(data=bytes(data[start : start + CHUNK_BYTES]))

        with self._errors():
            self.stub.Write(chunks(), timeout=self._deadline_s + len(data) / 1e8)

    def _write_mapped(self, name: str, data: memoryview, offset_bytes: int, dtype: str) -> bool:
        """Copies into the node's own memory and tells it so; False where the bytes have to be sent, errors too."""
        location = self.locate(name)
        buffer = location.buffer
        if not location.mappable or buffer.dtype != (dtype or buffer.dtype):
            return False
        if offset_bytes + len(data) > buffer.size_bytes:
            return False
        segment = Segment(
            location.process, location.descriptor, location.inode, location.offset_bytes, buffer.size_bytes,
            location.generation,
        )  # fmt: skip
        if not write_once(segment, offset_bytes, data):
            return False
        told = node_pb2.WriteChunk(name=name, mapped_bytes=len(data), dtype=dtype)
        with self._errors():
            self.stub.Write(iter((told,)), timeout=self._deadline_s)
        return True

    def read(self, name: str, offset_bytes: int = 0, shape: Sequence[int] | None = None) -> npt.NDArray[Any]:
        """A range of a buffer as an array of its own; the whole buffer in its shape when `shape` is None.

        Raises:
            UnknownBuffer, OutOfRange: no such range.
        """
        if offset_bytes < 0:
            raise OutOfRange(f"offset {offset_bytes} bytes of {self.device}.{name} is negative")
        size_bytes, dtype = 0, ""
        if shape is not None:
            dtype = self._dtypes.get(name) or self._dtype_of(name)
            size_bytes = checked_size_bytes(dtype, shape)
            if not size_bytes:
                return np.empty(tuple(shape), NUMPY_DTYPES[dtype])
        request = node_pb2.ReadRequest(name=name, offset_bytes=offset_bytes, size_bytes=size_bytes)
        pieces: list[bytes] = []
        with self._errors():
            info: node_pb2.BufferInfo | None = None
            for chunk in self.stub.Read(request, timeout=self._deadline_s + size_bytes / 1e8):
                info = chunk.buffer if info is None else info
                pieces.append(chunk.data)
        if info is None:
            raise NodeError(f"{self.device} sent nothing of {name}")
        if shape is not None and info.dtype != dtype:  # freed and allocated anew since
            self._dtypes[name] = info.dtype
            return self.read(name, offset_bytes, shape)
        if shape is None:
            items = sum(map(len, pieces)) // ITEM_BYTES[info.dtype]
            shape = tuple(info.shape) if not offset_bytes else (items,)
        array = np.empty(tuple(shape), NUMPY_DTYPES[info.dtype])
        into, start = array.reshape(-1).view(np.uint8), 0
        for piece in pieces:
            into[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
            start += len(piece)
        checked_range(name, 0, into.size, start)
        return array

    def locate(self, name: str) -> node_pb2.Location:
        """Where a buffer lies."""
        with self._errors():
            return self.stub.Locate(node_pb2.LocateRequest(name=name), timeout=self._deadline_s)

    def _dtype_of(self, name: str) -> str:
        dtype = str(self.locate(name).buffer.dtype)
        self._dtypes[name] = dtype
        return dtype

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as call:
            raise self.error_of(call) from None
        except (
            ValueError
        ) as error:  # what protobuf says to numbers that no field can hold, and gRPC on a closed channel
            if self._gone is not None:
                raise self._gone from None
            raise OutOfRange(f"{self.device}: {error}") from error

    def error_of(self, call: grpc.RpcError) -> Exception:
        """The error behind a failed RPC."""
        if self._gone is not None:
            return self._gone
        return error_of_call(call, self.device) or self._unreachable(
            f"{self.device} does not answer ({call.details()}); its process has ended or is stuck"
        )
