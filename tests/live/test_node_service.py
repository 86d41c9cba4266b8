"""One node from outside: buffers, kernels, errors on the wire, health, reflection, counters."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from controller.launch import Cluster
from node.client import Allocate, LaunchKernel, NodeClient, Operand, Release
from node.errors import (
    BadName,
    BufferExists,
    DtypeMismatch,
    MessageTooLarge,
    NodeError,
    OutOfRange,
    TierFull,
    UnknownBuffer,
    UnknownTier,
    Unsupported,
    WaitTimeout,
)
from node.protocol import MESSAGE_BYTES
from node.rpc import node_pb2

pytestmark = pytest.mark.live
Names = Callable[[str], str]


def serves(client: NodeClient) -> bool:
    return client.is_serving() and client.describe().device == client.device


def add(identity: int, x: str, y: str, shape: tuple[int, ...], **options: object) -> LaunchKernel:
    return LaunchKernel(
        identity, "add", (Operand(x, 0, shape), Operand(x, 0, shape)), (Operand(y, 0, shape),), **options
    )


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "int64", "uint8", "bool"])
def test_what_is_written_is_read(pair: Cluster, fresh: Names, dtype: str) -> None:
    from node.wire.arrays import NUMPY_DTYPES

    client, name = pair.clients["a"], fresh("x")
    values = np.arange(35).reshape(5, 7).astype(NUMPY_DTYPES[dtype])
    client.allocate(name, "hbm", dtype, (5, 7))
    assert not client.read(name).any()
    client.write(name, values)
    assert np.array_equal(client.read(name), values)
    item = values.itemsize
    assert np.array_equal(client.read(name, 7 * item, (2, 7)), values[1:3])
    client.write(name, values[:1], offset_bytes=28 * item)
    assert np.array_equal(client.read(name)[4], values[0])
    client.free(name)


def test_large_buffers_travel_in_chunks(pair: Cluster, fresh: Names) -> None:
    client, name = pair.clients["a"], fresh("x")
    values = np.arange(3_000_001, dtype=np.int32)
    client.allocate(name, "hbm", "int32", values.shape)
    client.write(name, values)
    assert np.array_equal(client.read(name), values)
    client.free(name)


def test_bf16_is_rounded_to_nearest_even(pair: Cluster, fresh: Names) -> None:
    client, name = pair.clients["a"], fresh("x")
    client.allocate(name, "hbm", "bf16", (4,))
    client.write(name, np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -2.5], np.float32))
    from node.client import bf16_values

    assert bf16_values(client.read(name)).tolist() == [1.0, 1.0, 1 + 2**-6, -2.5]
    client.free(name)


def test_wrong_requests_are_typed_errors_and_the_node_goes_on(pair: Cluster, fresh: Names) -> None:
    client, name = pair.clients["a"], fresh("x")
    used = client.describe().tiers["hbm"].used_bytes
    client.allocate(name, "hbm", "fp32", (8,))
    refused: list[tuple[type[NodeError], Callable[[], object]]] = [
        (BadName, lambda: client.allocate("../x", "hbm", "fp32", (8,))),
        (BadName, lambda: client.allocate("", "hbm", "fp32", (8,))),
        (BadName, lambda: client.allocate("n" * 300, "hbm", "fp32", (8,))),
        (BufferExists, lambda: client.allocate(name, "hbm", "fp32", (8,))),
        (UnknownTier, lambda: client.allocate("y", "l2", "fp32", (8,))),
        (DtypeMismatch, lambda: client.allocate("y", "hbm", "fp31", (8,))),
        (TierFull, lambda: client.allocate("y", "hbm", "fp32", (1 << 40,))),
        (UnknownBuffer, lambda: client.free("nothing")),
        (UnknownBuffer, lambda: client.read("nothing")),
        (DtypeMismatch, lambda: client.write(name, np.zeros(8, np.int64))),
        (OutOfRange, lambda: client.write(name, np.zeros(9, np.float32))),
        (OutOfRange, lambda: client.write(name, np.zeros(1, np.float32), offset_bytes=32)),
        (OutOfRange, lambda: client.read(name, 4, (8,))),
        (OutOfRange, lambda: client.read(name, -4, (1,))),
        (Unsupported, lambda: client.submit([add(1, name, name, (8,), queue="side")], ready_at=0.0).result(10)),
    ]
    for kind, request in refused:
        with pytest.raises(kind):
            request()
        assert serves(client)
    client.free(name)
    with pytest.raises(UnknownBuffer, match="freed"):
        client.free(name)
    assert client.describe().tiers["hbm"].used_bytes == used


def test_a_full_tier_says_what_is_missing(pair: Cluster) -> None:
    client = pair.clients["a"]
    free = client.describe().tiers["hbm"].capacity_bytes - client.describe().tiers["hbm"].used_bytes
    with pytest.raises(TierFull) as full:
        client.allocate("huge", "hbm", "uint8", (free + 17,))
    assert full.value.missing_bytes == 17


def test_a_message_beyond_the_limit_is_refused_on_both_sides(pair: Cluster) -> None:
    client = pair.clients["a"]
    many = [Release(index, f"{'n' * 100}{index}") for index in range(MESSAGE_BYTES // 100)]
    with pytest.raises(MessageTooLarge):
        client.submit(many, ready_at=0.0)
    target = next(t for n, t in targets(pair).items() if n == "a")
    with grpc.insecure_channel(target, [("grpc.max_send_message_length", -1)]) as channel:
        call = channel.stream_unary(
            "/windtunnel.node.v1.Node/Write",
            request_serializer=node_pb2.WriteChunk.SerializeToString,
            response_deserializer=node_pb2.WriteReply.FromString,
        )
        with pytest.raises(grpc.RpcError) as error:
            call(iter([node_pb2.WriteChunk(name="x", data=bytes(MESSAGE_BYTES + 1))]), timeout=20)
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert serves(client)


def targets(cluster: Cluster) -> dict[str, str]:
    from controller.launch.cluster_file import read_cluster_file
    from controller.launch.run_directory import runs_folder

    (path,) = (path for path in runs_folder().iterdir() if path.is_dir())
    return {name: entry["target"] for name, entry in read_cluster_file(path)["devices"].items()}


def test_kernels_compute_and_are_timed(pair: Cluster, fresh: Names) -> None:
    client, x, y = pair.clients["a"], fresh("x"), fresh("y")
    values = np.arange(1000, dtype=np.float32)
    client.allocate(x, "hbm", "fp32", (1000,))
    client.allocate(y, "hbm", "fp32", (1000,))
    client.write(x, values)
    before = client.counters()
    done = client.submit([add(1, x, y, (1000,)), add(2, y, x, (1000,))], ready_at=5.0).result(20)
    assert [entry.error for entry in done] == ["", ""]
    assert np.array_equal(client.read(x), 4 * values)
    assert done[0].start_at == 5.0 and done[1].start_at == done[0].end_at  # one in-order queue
    # add of 1,000 fp32 moves 8,000 bytes in and 4,000 out of a tier of 1 GB/s each way: 8 us at least.
    assert done[0].end_at - done[0].start_at >= 8e-6
    after = client.counters()
    assert after.commands - before.commands == 2
    assert after.tiers[0].read_bytes - before.tiers[0].read_bytes == 16_000
    assert after.tiers[0].written_bytes - before.tiers[0].written_bytes == 8_000
    for name in (x, y):
        client.free(name)


def test_the_host_launches_kernels_one_after_the_other(pair: Cluster, fresh: Names) -> None:
    client, x = pair.clients["b"], fresh("x")
    client.allocate(x, "hbm", "fp32", (4,))
    client.start_clock(0.0)
    done = client.submit([add(n, x, x, (4,)) for n in range(10, 13)], ready_at=1.0).result(20)
    assert [entry.start_at for entry in done] == pytest.approx([1.001, 1.002, 1.003])
    client.free(x)


def test_a_failed_command_fails_what_waits_for_it_and_nothing_else(pair: Cluster, fresh: Names) -> None:
    client, x = pair.clients["a"], fresh("x")
    client.allocate(x, "hbm", "fp32", (4,))
    batch = [
        add(101, fresh("missing"), x, (4,)),
        add(102, x, x, (4,), wait=(101,)),
        add(103, x, x, (4,), wait=(102,)),
        add(104, x, x, (4,)),
        LaunchKernel(105, "ad", (), ()),
        add(106, x, x, (8,)),
    ]
    done = client.submit(batch, ready_at=0.0).result(20)
    assert done[0].error.startswith("UnknownBuffer")
    assert "command 101" in done[1].error and "UnknownBuffer" in done[1].error
    assert "command 102" in done[2].error and "command 101 failed first" in done[2].error
    assert done[3].error == ""
    assert done[4].error.startswith("UnknownOperation") and "add" in done[4].error
    assert done[5].error.startswith("OutOfRange")
    with pytest.raises(NodeError, match="101"):
        client.wait((101,), 1.0)
    assert serves(client)
    client.free(x)


def test_an_event_that_never_comes_times_out(pair: Cluster, fresh: Names) -> None:
    client, x = pair.clients["a"], fresh("x")
    client.allocate(x, "hbm", "fp32", (4,))
    late = client.submit([add(201, x, x, (4,), wait=(999_999,))], ready_at=0.0, timeout_s=0.2).result(20)
    assert late[0].error.startswith("WaitTimeout") and "999999" in late[0].error
    unqueued = client.submit([Release(202, x, wait=(999_998,))], ready_at=0.0, timeout_s=0.2).result(20)
    assert unqueued[0].error.startswith("WaitTimeout")
    with pytest.raises(WaitTimeout):
        client.wait((999_997,), 0.1)
    client.free(x)


def test_buffers_can_come_and_go_within_a_batch(pair: Cluster, fresh: Names) -> None:
    client, x = pair.clients["a"], fresh("x")
    for round_number in range(2):
        first = 300 + 10 * round_number
        batch = [
            Allocate(first, x, "hbm", "fp32", (4 + round_number,)),
            add(first + 1, x, x, (4,), wait=(first,)),
            Release(first + 2, x, wait=(first + 1,)),
        ]
        assert [entry.error for entry in client.submit(batch, ready_at=0.0).result(20)] == ["", "", ""]
    with pytest.raises(UnknownBuffer):
        client.read(x)


def test_reflection_lists_and_calls_the_service(pair: Cluster) -> None:
    """What grpcurl does: list services, learn the messages, call one without the generated stubs."""
    with grpc.insecure_channel(targets(pair)["a"]) as channel:
        known = ProtoReflectionDescriptorDatabase(channel)
        assert {"windtunnel.node.v1.Node", "grpc.health.v1.Health"} <= set(known.get_services())
        pool = DescriptorPool(known)
        method = pool.FindServiceByName("windtunnel.node.v1.Node").FindMethodByName("Describe")
        request, reply = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        call = channel.unary_unary(
            "/windtunnel.node.v1.Node/Describe",
            request_serializer=request.SerializeToString,
            response_deserializer=reply.FromString,
        )
        assert call(request(), timeout=10).device == "a"


def test_a_broken_batch_is_refused_and_the_stream_goes_on(pair: Cluster) -> None:
    stub = pair.clients["a"].stub
    unknown_key = node_pb2.Batch(batch=1, id=[1], call=[7], wait_count=[0], notify_count=[0])
    ragged = node_pb2.Batch(batch=2, id=[1, 2], call=[7], wait_count=[0], notify_count=[0])
    empty = node_pb2.Batch(batch=3)
    replies = list(stub.Stream(iter([unknown_key, ragged, empty]), timeout=20))
    assert [bool(reply.refused.type) for reply in replies] == [True, True, False]
