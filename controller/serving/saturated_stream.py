"""A stream of requests that keeps the KV cache full: decoding only, batched anew in every iteration.

Which requests an iteration decodes follows from lengths and room (`controller.workload.saturated`). Iterations of
nearly equal rows and mean context are taken as equal, to ``--grain`` steps an octave: each such composition is executed
once as a plan, and repeated on the clock as often as it occurs. Only iterations of a full system count, those after its
warm-up in which requests still wait. Between two iterations the host works: it schedules, prepares inputs and handles
outputs while the GPUs wait, as far as no other batch keeps them busy; batches that take turns hide all but the share of
the first one.

Source: the host's part, 5 to 13 ms without any GPU work a decode step, by vLLM's developers (vllm-project/vllm, issue
6854, July 2024); read as 5 ms and, at vLLM's default limit of 256 sequences, 8 ms more. Memory: vLLM's
gpu_memory_utilization of 0.9, and its own profile of an H100 with tensor parallelism, 3.58 GiB outside of PyTorch (1.79
without) and 1.26 GiB of activations (pull request 10511). Lamina's software publishes neither; the same host time and
the same 0.9 of a memory device are assumed for it.
Not modelled: requests that arrive or end in the middle of an iteration; lengths within a batch beyond their mean;
batches that take turns with unequal shares of the requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from controller.collectives.all_reduce_direct import HOPS
from controller.collectives.exchange import Software
from controller.collectives.software import all_reduced_bytes, fastest, software_of
from controller.errors import BadTopology, BadWorkload
from controller.models.scenario import Scenario
from controller.models.sharding import Sharding
from controller.offload.attention_side import LocalSide, RemoteSide, Side
from controller.offload.fixed_batch import Pools
from controller.offload.network_stack import NetworkStack
from controller.offload.piece_cache import PooledCache, check_whole_context
from controller.offload.pieces import pieces_of
from controller.offload.rotation import StaggeredBatch, emit_rotation
from controller.offload.scratch import Scratch
from controller.plan.ops import Buffer, Plan, View
from controller.plan.ranges import even_ranges
from controller.plan.script import Script
from controller.plan.size import symbol
from controller.program.results import Latencies, ServingResult
from controller.program.run import Run, ServingProgram
from controller.program.waits import Completion
from controller.serving.stream_options import StreamOptions
from controller.workload.files import open_stream
from controller.workload.requests import RequestStream
from controller.workload.saturated import BLOCK_TOKENS, Composition, Course, compositions, decode_course
from node.hardware.operation import ITEM_BYTES
from node.hardware.units import GIBI

OUTSIDE_BYTES: Final = round(3.58 * GIBI)
"""Outside of PyTorch on each of several tensor-parallel H100: context, graphs, buffers of NCCL [bytes]."""
OUTSIDE_ALONE_BYTES: Final = round(1.79 * GIBI)
"""The same on a single H100 [bytes]."""
ACTIVATION_BYTES: Final = round(1.26 * GIBI)
"""Peak of activations that vLLM sets aside on an H100 [bytes]."""


@dataclass(frozen=True)
class Server:
    """A system that serves a stream.

    Attributes:
        pools: who does what.
        kv_bytes: for the KV cache on each device that holds some [bytes].
    """

    pools: Pools
    kv_bytes: Mapping[str, int]


def serve_lamina(run: Run, scenario: Scenario, pools: Pools) -> ServingProgram:
    """The stream on two pools; a memory device holds nothing but KV cache and the vectors of the current step."""
    share = StreamOptions.of(scenario.options).utilisation
    kv_bytes = {name: int(_capacity(scenario, name) * share) for name in pools.memories}
    return _serve(run, scenario, Server(pools, kv_bytes))


def serve_tensor_parallel(run: Run, scenario: Scenario, pools: Pools) -> ServingProgram:
    """The stream on tensor-parallel GPUs, with what a server sets aside beside weights and cache."""
    share = StreamOptions.of(scenario.options).utilisation
    devices = pools.replicas[0]
    sharding = Sharding(scenario.shape, devices, scenario.dtype)
    aside = ACTIVATION_BYTES + (OUTSIDE_BYTES if len(devices) > 1 else OUTSIDE_ALONE_BYTES)
    kv_bytes = {
        name: int(_capacity(scenario, name) * share) - sharding.weight_bytes(rank) - aside
        for rank, name in enumerate(devices)
    }
    return _serve(run, scenario, Server(pools, kv_bytes))


def _serve(run: Run, scenario: Scenario, server: Server) -> ServingProgram:
    # A live run is surveyed before nodes start, and is refused then.
    if scenario.weights is not None:
        raise BadWorkload(
            "request streams run on the virtual clock only: remove --live, or replace --requests by --batch N"
        )
    if scenario.batch != 1:
        raise BadWorkload(
            f"--batch {scenario.batch} beside --requests: the KV cache decides the batch; remove --batch, or "
            f"bound the batch with --max-batch"
        )
    check_whole_context(scenario)
    options = StreamOptions.of(scenario.options)
    assert options.requests is not None, "a stream was asked for"
    stream = open_stream(options.requests, scenario.seed)
    longest = int((stream.prompt_tokens + stream.output_tokens).max())
    shape = scenario.shape
    if shape.positions == "learned" and longest > shape.max_positions:
        raise BadWorkload(
            f"{stream.name}: a request of {longest} tokens, and {shape.name} has positions for {shape.max_positions}; "
            f"choose another model or stream"
        )
    blocks = _blocks(scenario, server)
    course = decode_course(stream, blocks, options.max_batch)
    groups, index = compositions(course, options.grain, blocks * BLOCK_TOKENS)
    iterations = _Iterations(scenario, server, blocks, max(group.rows for group in groups))
    iterations.place(run)
    counts = np.bincount(index, minlength=len(groups))
    spent_s: list[float] = []
    for number, (group, count) in enumerate(zip(groups, counts.tolist(), strict=True)):
        plan, bindings, first_rows = iterations.step(group)
        iterations.scratch.place(run)
        host_s = options.host_step + options.host_sequence * first_rows
        yield run.delay(count * host_s)
        done: Completion = yield run.submit(plan, **bindings)
        if count > 1:
            yield run.repeat(done, count - 1)
        spent_s.append(host_s + done.end_at - done.submitted_at)
        run.progress(number + 1, len(groups), "iterations")
    run.mark("decode")
    result = _result(run, scenario, server, stream, course, blocks, np.array(spent_s)[index])
    run.figure("plans_executed", len(groups))
    return result


def _result(
    run: Run,
    scenario: Scenario,
    server: Server,
    stream: RequestStream,
    course: Course,
    blocks: int,
    step_s: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> ServingResult:
    rows, context = course.counted
    tokens, time_s = int(rows.sum()), float(step_s.sum())
    between = Latencies(step_s, rows)
    run.figure("trace", stream.name)
    run.figure("requests_left_out", course.left_out)
    run.figure("preemptions", course.preempted)
    run.figure("kv_capacity_tokens", blocks * BLOCK_TOKENS)
    run.figure("iterations", len(rows))
    run.figure("mean_batch", float(rows.mean()))
    run.figure("mean_context", float(context.sum() / tokens))
    run.figure("time_between_tokens_mean_s", between.mean_s)
    run.figure("time_between_tokens_p99_s", between.quantile_s(0.99))
    price = _usd_per_hour(scenario, server)
    if price is not None:
        run.figure("usd_per_hour", price)
        run.figure("tokens_per_usd", tokens / time_s * 3600 / price)
    return ServingResult(stream.count, tokens, time_s, itl_s=between)


class _Iterations:
    """Everything that is placed for a stream, and the plans of its iterations."""

    def __init__(self, scenario: Scenario, server: Server, blocks: int, most_rows: int) -> None:
        pools, shape, dtype = server.pools, scenario.shape, scenario.dtype
        self._shape, self._pools, self._item = shape, pools, ITEM_BYTES[dtype]
        self._replicas = [Sharding(shape, devices, dtype, pools.groups) for devices in pools.replicas]
        first = pools.replicas[0]
        self._world = len(first)
        pieces = pieces_of(shape, self._world, pools.memories or first)
        self._cache = PooledCache(shape, pieces, blocks * BLOCK_TOKENS, scenario.kv_dtype)
        self._software = software_of(scenario.topology, first, HOPS)
        self._most = -(-most_rows // pools.batches)
        self._batches = [_staggered(first[0], lane, self._most, shape.vocab, dtype) for lane in range(pools.batches)]
        self._side: Side
        if pools.memories:
            stack = NetworkStack(scenario.topology, pools.stack)
            self._side = RemoteSide(shape, pieces, self._cache, stack, overlap=pools.overlap)
        else:
            self._side = LocalSide(shape, pieces, self._cache)
        self._plans: dict[tuple[str, int], Plan] = {}
        self.scratch = Scratch("scratch")

    def place(self, run: Run) -> None:
        """Weights, cache, token ids and logits."""
        for sharding in self._replicas:
            sharding.place(run, None)
        self._cache.place(run)
        for batch in self._batches:
            for view in (batch.ids, batch.logits):
                run.place(view.buffer, written=True)

    def step(self, group: Composition) -> tuple[Plan, dict[str, int], int]:
        """The plan of an iteration, numbers for its open sizes, and the rows of the first batch."""
        active = min(self._pools.batches, group.rows)
        shares = [stop - start for start, stop in even_ranges(group.rows, active)]
        summed = all_reduced_bytes(shares[0] * self._shape.hidden * self._item, self._world)
        bindings: dict[str, int] = {}
        for lane, rows in enumerate(shares):
            bindings[f"rows{lane}"], bindings[f"context{lane}"] = rows, group.context
            if self._shape.sliding_window:
                bindings[f"start{lane}"] = max(0, group.context - self._shape.sliding_window)
        plan = self._plan(fastest(self._software, summed), active)
        return plan, {name: value for name, value in bindings.items() if name in plan.parameters}, shares[0]

    def _plan(self, software: Software, active: int) -> Plan:
        key = software.name, active
        if key not in self._plans:
            bounds = {f"rows{lane}": self._most for lane in range(active)}
            s = Script("decode iteration", self.scratch, bounds)
            emit_rotation(s, self._replicas, self._batches[:active], self._side, software)
            self._plans[key] = s.plan()
        return self._plans[key]


def _staggered(device: str, lane: int, most: int, vocab: int, dtype: str) -> StaggeredBatch:
    rows = symbol(f"rows{lane}")
    ids = Buffer(device, "hbm", f"ids{lane}", "int64", (most,))
    logits = Buffer(device, "hbm", f"logits{lane}", dtype, (most, vocab))
    return StaggeredBatch(View(ids, 0, (rows,)), View(logits, 0, (rows, vocab)), symbol(f"context{lane}") - 1)


def _blocks(scenario: Scenario, server: Server) -> int:
    """Blocks of the paged cache that every device has room for.

    Raises:
        BadTopology: not one.
    """
    pools, shape = server.pools, scenario.shape
    first = pools.replicas[0]
    heads: dict[str, int] = {}
    for piece in pieces_of(shape, len(first), pools.memories or first):
        heads[piece.memory] = heads.get(piece.memory, 0) + piece.kv_heads
    token_bytes = 2 * shape.layers * shape.head_dim * ITEM_BYTES[scenario.kv_dtype]
    room = {name: server.kv_bytes[name] // (token_bytes * count * BLOCK_TOKENS) for name, count in heads.items()}
    least = min(room, key=room.__getitem__)
    if room[least] < 1:
        raise BadTopology(
            f"{least} has {max(server.kv_bytes[least], 0)} bytes left for the KV cache of {shape.name}, less than one "
            f"block of {BLOCK_TOKENS} tokens; use more devices or raise --utilisation"
        )
    return room[least]


def _capacity(scenario: Scenario, device: str) -> int:
    tiers = scenario.topology.devices[device].spec.tiers
    if "hbm" not in tiers:
        raise BadTopology(f"{device} of topology {scenario.topology.name!r} has no tier hbm; it has {', '.join(tiers)}")
    return tiers["hbm"].capacity_bytes


def _usd_per_hour(scenario: Scenario, server: Server) -> float | None:
    """Rent of every device in use [USD/h]; None where the topology states no price for one."""
    names: Sequence[str] = [name for devices in server.pools.replicas for name in devices]
    topology = scenario.topology
    rents = [
        topology.rent_usd_per_hour.get(topology.devices[name].spec.product) for name in (*names, *server.pools.memories)
    ]
    known = [rent for rent in rents if rent is not None]
    return sum(known) if len(known) == len(rents) else None
