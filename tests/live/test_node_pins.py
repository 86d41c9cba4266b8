"""Free beside streams, kernels and pushes: what is in use is kept, and nothing late lands anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from threading import Event, Thread

import numpy as np
import pytest

from controller.launch import Cluster
from node.client import NodeClient
from node.errors import BufferInUse
from node.rpc import node_pb2

pytestmark = pytest.mark.live
SIZE = 8 << 20


class OpenWrite:
    """A write of `SIZE` bytes whose chunks come when the test says so."""

    def __init__(self, client: NodeClient, name: str) -> None:
        self._chunks: SimpleQueue[node_pb2.WriteChunk | None] = SimpleQueue()
        self._taken = Event()
        self.put(node_pb2.WriteChunk(name=name, total_bytes=SIZE, data=bytes(1)))
        self.call = client.stub.Write.future(iter(self._chunks.get, None), timeout=30)

    def put(self, chunk: node_pb2.WriteChunk | None) -> None:
        self._chunks.put(chunk)


def refused(client: NodeClient, name: str) -> str:
    """How a free is refused once the other call has begun."""
    while True:
        try:
            client.free(name)
        except BufferInUse as error:
            return str(error)
        client.allocate(name, "hbm" if not name.startswith("f") else "flash", "uint8", (SIZE,))


def freed(client: NodeClient, name: str) -> None:
    """Frees once the handler of a call that was cancelled has ended."""
    while True:
        try:
            return client.free(name)  # type: ignore[return-value]
        except BufferInUse:
            continue


def used_bytes(client: NodeClient) -> int:
    reply = client.stub.Describe(node_pb2.DescribeRequest(), timeout=10)
    return sum(tier.used_bytes for tier in reply.tiers)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("device", "tier"), [("a", "hbm"), ("drive", "flash")])
def test_a_write_keeps_its_buffer_and_a_cancelled_one_lets_go(pair: Cluster, device: str, tier: str) -> None:
    client = pair.clients[device]
    before = used_bytes(client)
    name = f"{tier}.written"
    client.allocate(name, tier, "uint8", (SIZE,))
    write = OpenWrite(client, name)
    assert "a write that has not ended" in refused(client, name)
    assert used_bytes(client) == before + SIZE
    write.put(node_pb2.WriteChunk(data=b"\x07" * (SIZE // 2 - 1)))
    write.put(node_pb2.WriteChunk(data=b"\x07" * (SIZE // 2)))
    write.put(None)
    assert write.call.result().written_bytes == SIZE
    assert client.read(name).tolist() == [0] + [7] * (SIZE - 1)
    client.free(name)
    client.allocate(name, tier, "uint8", (SIZE,))
    stalled = OpenWrite(client, name)
    refused(client, name)
    stalled.call.cancel()
    freed(client, name)
    stalled.put(None)
    assert used_bytes(client) == before


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("device", "tier"), [("a", "hbm"), ("drive", "flash")])
def test_a_read_keeps_its_buffer_and_a_cancelled_one_lets_go(pair: Cluster, device: str, tier: str) -> None:
    client = pair.clients[device]
    before = used_bytes(client)
    size, name = 64 << 20, f"{tier}.read"
    client.allocate(name, tier, "uint8", (size,))
    call = client.stub.Read(node_pb2.ReadRequest(name=name), timeout=30)
    next(call)  # the rest waits for us: it is far more than the windows of the connection hold
    with pytest.raises(BufferInUse, match="a read that has not ended"):
        client.free(name)
    call.cancel()
    freed(client, name)
    assert used_bytes(client) == before


@pytest.mark.timeout(60)
def test_pushes_beside_free_and_allocate_never_land_in_another_buffer(pair: Cluster) -> None:
    source, target, far = pair.clients["a"], pair.clients["b"], pair.clients["far"]
    before = [used_bytes(client) for client in (target, far)]
    source.allocate("sent", "hbm", "uint8", (SIZE,))
    source.write("sent", np.full(SIZE, 9, np.uint8))
    stop = Event()

    def churn(client: NodeClient) -> None:
        while not stop.is_set():
            client.allocate("landing", "hbm", "uint8", (SIZE,))
            client.allocate("other", "hbm", "uint8", (SIZE,))
            freed(client, "landing")
            freed_other(client)

    def freed_other(client: NodeClient) -> None:
        if client.read("other").any():
            wrong.append(client.device)
        client.free("other")

    wrong: list[str] = []
    threads = [Thread(target=churn, args=(client,)) for client in (target, far)]
    for thread in threads:
        thread.start()
    operand = node_pb2.Operand(name="sent", shape=[SIZE])
    landing = node_pb2.Operand(name="landing", shape=[SIZE])

    def batches() -> Iterator[node_pb2.Batch]:
        for number in range(40):
            there = node_pb2.Destination(device=("b", "far")[number % 2], operand=landing)
            push = node_pb2.PushCall(source=operand, destinations=[there], out_port="pcie", in_port="pcie")
            yield node_pb2.Batch(
                batch=number, calls=[node_pb2.Call(key=1, push=push)], id=[8_000_000 + number], call=[1],
                wait_count=[0], notify_count=[0], timeout_s=20.0,
            )  # fmt: skip

    kinds = {failure.failure.type for reply in source.stub.Stream(batches(), timeout=50) for failure in reply.failures}
    stop.set()
    for thread in threads:
        thread.join()
    source.free("sent")
    assert kinds <= {"UnknownBuffer", "DtypeMismatch"} and not wrong
    assert [used_bytes(client) for client in (target, far)] == before
