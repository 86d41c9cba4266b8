"""A stranger on the socket of a node, in its own process: started with KIND and SEED, told DEVICE and TARGET on stdin.

Prints "ready" when it can strike, and one line of JSON when it has: what it sent, and how often which answer came.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from threading import Event

import grpc
import numpy as np

from node.client import NodeClient
from node.errors import NodeError
from node.rpc import node_pb2

CUTS, STREAMS, REQUESTS = 20, 300, 200
HOLD_S, DEADLINE_S = 1.0, 5.0
SIZE = 4 << 20
OBEYED = ("Shutdown", "Abandon", "StartClock", "Meet", "Prepare", "Commit", "Free", "Counters", "Strike")
"""Calls that may mean something whatever the bytes are: an empty request is one, and unknown fields are skipped."""
Counts = Counter[str]


def cut_stream(client: NodeClient, rng: np.random.Generator) -> Counts:
    """Breaks writes and command streams off in the middle; afterwards a whole write must arrive as it is."""
    counts = Counts()
    tier = next(iter(client.describe().tiers))
    client.allocate("storm/cut", tier, "uint8", (SIZE,))
    try:
        for _ in range(CUTS):
            sent = int(rng.integers(0, 4))
            reached = Event()
            call = client.stub.Write.future(_broken(sent, reached), timeout=DEADLINE_S)
            reached.wait(DEADLINE_S)
            call.cancel()
            counts["writes cut"] += 1
            gate = Event()
            stream = client.stub.Stream(_open(gate), timeout=DEADLINE_S)
            stream.cancel()
            gate.set()
            counts["streams cut"] += 1
        values = rng.integers(0, 256, SIZE, np.uint8)
        client.write("storm/cut", values)
        counts["wrong" if not np.array_equal(client.read("storm/cut"), values) else "equal"] += 1
    finally:
        client.free("storm/cut")
    return counts


def flood(client: NodeClient, rng: np.random.Generator) -> Counts:
    """Holds many more command streams open than a node serves."""
    gate = Event()
    streams = [client.stub.Stream(_open(gate), timeout=60) for _ in range(STREAMS)]
    gate.wait(HOLD_S)
    counts = Counts({"streams": len(streams)})
    for stream in streams:
        counts["open" if stream.is_active() else stream.code().name] += 1
    gate.set()
    for stream in streams:
        stream.cancel()
    return counts


def garbage(client: NodeClient, rng: np.random.Generator) -> Counts:
    """Sends random bytes of random sizes, to calls that there are and to some that there are not."""
    counts = Counts()
    service = node_pb2.DESCRIPTOR.services_by_name["Node"]
    names = [method.name for method in service.methods if method.name not in OBEYED]
    for _ in range(REQUESTS):
        name = str(rng.choice(names)) if rng.random() < 0.8 else rng.bytes(6).hex()
        size = int(rng.choice([0, 1, 10, 1000, 100_000, 5 << 20], p=[0.1, 0.3, 0.3, 0.2, 0.09, 0.01]))
        call = client.channel.unary_unary(f"/{service.full_name}/{name}", None, None)
        try:
            call(rng.bytes(size), timeout=DEADLINE_S)
            counts["OK"] += 1
        except grpc.RpcError as error:
            counts[error.code().name] += 1
            if error.code() == grpc.StatusCode.UNAVAILABLE:  # the run has ended, which its own end judges
                break
    return counts


def _broken(sent: int, reached: Event) -> Iterator[node_pb2.WriteChunk]:
    """`sent` quarters of a write; then it says that it stops, and waits to be cut."""
    for part in range(sent):
        first = {"name": "storm/cut", "total_bytes": SIZE} if not part else {}
        yield node_pb2.WriteChunk(data=bytes(SIZE // 4), **first)
    reached.set()
    Event().wait(HOLD_S)


def _open(gate: Event) -> Iterator[node_pb2.Batch]:
    """No batch, and no end before the gate opens."""
    gate.wait(60)
    yield from ()


ACTS: dict[str, Callable[[NodeClient, np.random.Generator], Counts]] = {
    "cut_stream": cut_stream,
    "flood": flood,
    "garbage": garbage,
}


def main() -> None:
    """Strikes once."""
    act, rng = ACTS[sys.argv[1]], np.random.default_rng(int(sys.argv[2]))
    print("ready", flush=True)
    words = sys.stdin.readline().split()
    if not words:
        return
    device, target = words
    client = NodeClient(target, device)
    try:
        print(json.dumps(act(client, rng)), flush=True)
    except (NodeError, grpc.RpcError) as error:
        print(json.dumps({f"gave up: {error}": 1}), flush=True)


if __name__ == "__main__":
    main()
