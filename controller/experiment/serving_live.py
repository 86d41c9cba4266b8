"""A server with values: requests answered on node processes, and every answer beside a plain greedy generation."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from controller.clock import wall_clock_s
from controller.errors import BadWorkload
from controller.experiment.run_spec import LIVE_DTYPE
from controller.experiment.serving_run import ServingExperiment, finished
from controller.experiment.serving_setup import ServingSetup, check_requests
from controller.experiment.serving_spec import ServeSpec
from controller.launch.preflight import Needs
from controller.models.reference import generate_reference
from controller.models.sharding import Sharding
from controller.models.weights import Weights, open_weights
from controller.program.run import ProgressSink
from controller.serving.client_request import ClientRequest, RequestStreamSpec
from controller.serving.cluster import ServingCluster
from controller.serving.device_times.times import HostCosts
from controller.serving.fleet import start_instances
from controller.serving.instance import ServingInstance
from controller.serving.kv_pool import BLOCK_TOKENS
from controller.serving.kv_room import block_bytes
from controller.serving.live.forward import LiveForward, ValuesRun
from controller.serving.live.live_instance import LiveInstance, LiveMover
from controller.serving.live.request_texts import RequestTexts
from controller.serving.loop import ServingLoop
from controller.serving.outages import ServingOutages
from controller.topology.fault import DEAD, SLOW, Fault

MOST_POOL_BYTES = 256 << 20
"""What the KV pool of a live instance takes unless --kv-tokens says otherwise: this machine holds all of them."""
_SCRATCH_BYTES = 64 << 20


class LiveServing:
    """A server that is loaded and checked, apart from the processes that carry it.

    Attributes:
        setup: of the same server on the virtual clock.
        blocks: of every instance's pool.
        weights: of the model.
        forwards: weights and pool of every instance.
    """

    def __init__(
        self, spec: ServeSpec, most_blocks: int | None = None, say: Callable[[str], None] | None = None
    ) -> None:
        """Loads and checks.

        Args:
            spec: what was asked for.
            most_blocks: that requests can fill; None for any number.
            say: told what opening the weights does.

        Raises:
            UserError: a name that does not exist, or what no node process can carry.
        """
        self.spec, self.setup = spec, ServingSetup(spec)
        shape = self.setup.shape
        if shape.without_values:
            raise BadWorkload(f"{shape.name} cannot run with values: {shape.without_values[0]}; remove --live")
        if shape.parts or spec.pp > 1:
            what = f"{shape.name} has {' and '.join(shape.parts)}" if shape.parts else f"--pp {spec.pp} cuts layers"
            raise BadWorkload(f"{what}, which serving with values does not take yet; remove --live or choose another")
        first = self.setup.devices[0].stages[0]
        if any(len(each.stages[0]) != len(first) for each in self.setup.devices):
            raise BadWorkload(
                "instances of different --tp have their heads on other ranks, and KV pages with values move rank to "
                "rank: choose one tensor parallelism, or remove --live"
            )
        room = min(each.blocks for each in self.setup.instances)
        if spec.kv_tokens is None:
            each = block_bytes(Sharding(shape, first, LIVE_DTYPE)) * len(first)
            room = max(1, min(room, MOST_POOL_BYTES // each, room if most_blocks is None else most_blocks))
        self.blocks = room
        self.weights: Weights = open_weights(shape, spec.seed, say, spec.model)
        self.forwards = [
            LiveForward(self.setup.topology, shape, each.stages[0], LIVE_DTYPE, room, f"instance{number}")
            for number, each in enumerate(self.setup.devices)
        ]

    @property
    def needs(self) -> Needs:
        """Bytes that will be allocated, by (device, tier)."""
        return {
            (device, "hbm"): nbytes + _SCRATCH_BYTES
            for forward in self.forwards for device, nbytes in zip(forward.devices, forward.hbm_bytes, strict=True)
        }  # fmt: skip

    def start(self, run: ValuesRun, stream: RequestStreamSpec, *, survives: bool = False) -> RunningServer:
        """Places the model and gives the loop over `stream`, whose requests' texts the caller adds.

        Args:
            run: nodes that are alive.
            stream: of requests.
            survives: go on with other instances when a node dies that was not said to.

        Raises:
            OutOfMemory: a device has less memory than weights and pool take.
        """
        setup, spec = self.setup, self.spec
        for forward in self.forwards:
            forward.place(run, self.weights)
        instances = start_instances([replace(each, blocks=self.blocks) for each in setup.instances])
        cluster, texts = setup.dispatcher(instances), RequestTexts()
        hosts = [each.name for each in setup.topology.devices.values() if "dram" in each.spec.tiers]
        moving = {} if cluster is None else cluster.state.moving
        host = HostCosts(spec.host_step_s, spec.host_sequence_s)
        values = [
            LiveInstance(run, forward, texts, host, hosts[0] if hosts else "", moving) for forward in self.forwards
        ]
        for instance, each in zip(instances, values, strict=True):
            instance.values = each
        if cluster is not None:
            cluster.moves.mover = LiveMover(cluster.moves.mover, values)
        survives = survives or bool(spec.faults)
        outages = setup.outages(cluster, _killer(run)) if survives else None
        loop = ServingLoop(instances, stream, outages or cluster)
        loop.outages = outages
        return RunningServer(self, loop, instances, cluster, texts, outages)


@dataclass
class RunningServer:
    """A server whose processes run.

    Attributes:
        serving: what was loaded.
        loop: takes requests to their ends.
        instances, cluster: of the loop.
        texts: token ids of all requests.
        outages: of its instances; None where a dead node ends it.
    """

    serving: LiveServing
    loop: ServingLoop
    instances: Sequence[ServingInstance]
    cluster: ServingCluster | None
    texts: RequestTexts
    outages: ServingOutages | None = None


def _killer(run: ValuesRun) -> Callable[[str], None]:
    """Ends the process of a device as a fault does, where there are processes."""
    cluster = getattr(run, "cluster", None)

    def kill(device: str) -> None:
        if cluster is not None:
            os.kill(cluster.processes[device], signal.SIGKILL)

    return kill


def _check_lasting(faults: Sequence[Fault]) -> None:
    """Refuses what cannot be done to processes.

    Raises:
        BadWorkload: a process that is to come back, or a fault that is not of a device.
    """
    for fault in faults:
        if fault.kind != SLOW and (fault.kind != DEAD or fault.for_s is not None):
            raise BadWorkload(
                f"{fault}: node processes of a server can die for good, and be slow on its clock; remove --live, or "
                f"write {DEAD} without 'for'"
            )


@dataclass
class CheckedAnswers:
    """Tokens of all answers beside those of a plain run.

    Attributes:
        tokens_equal, tokens_compared: over all requests.
        requests_equal: requests all of whose tokens are equal.
        answers: token ids, by number of the request.
        made_by: the plain run.
    """

    tokens_equal: int = 0
    tokens_compared: int = 0
    requests_equal: int = 0
    answers: dict[int, list[int]] = field(default_factory=dict)
    made_by: str = ""

    @property
    def line(self) -> str:
        """For people."""
        return f"checked: {self.tokens_equal} of {self.tokens_compared} tokens equal those of {self.made_by}"

    def to_json(self, detailed: bool = False) -> dict[str, Any]:
        """Counts, and with `detailed` every answer."""
        found = {
            "tokens_equal": self.tokens_equal, "tokens_compared": self.tokens_compared,
            "requests_equal": self.requests_equal, "reference": self.made_by,
        }  # fmt: skip
        return {**found, "answers": [self.answers[number] for number in sorted(self.answers)]} if detailed else found


@contextmanager
def live_nodes(serving: LiveServing, pace: float | None = None) -> Iterator[ValuesRun]:
    """Node processes for a server, as long as the body runs."""
    from controller.execute.live import LiveRun
    from controller.execute.virtual import VirtualRun
    from controller.launch import launch, preflight

    topology = serving.setup.topology
    preflight(topology, serving.needs)
    with launch(topology, pace, needs=serving.needs) as cluster:
        yield LiveRun(VirtualRun(topology), cluster)


@contextmanager
def this_process(serving: LiveServing) -> Iterator[ValuesRun]:
    """The same with values computed in this process, for tests."""
    from controller.execute.local import LocalRun, one_thread

    with one_thread():
        yield LocalRun(serving.setup.topology)


def prompt_ids(request: ClientRequest, vocabulary: int, seed: int) -> list[int]:
    """Token ids of a request that came without text: drawn from the seed and its number."""
    draw = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, request.number])))
    return [int(each) for each in draw.integers(0, vocabulary, request.prompt_tokens)]


def serve_live(
    spec: ServeSpec, progress: ProgressSink | None = None, *, local: bool = False, check: bool = True
) -> tuple[ServingExperiment, CheckedAnswers]:
    """Answers the requests of `spec` on node processes and compares every answer with a plain greedy generation.

    Args:
        spec: what was asked for.
        progress: told how many requests have ended.
        local: compute in this process instead of on nodes.
        check: compare.

    Raises:
        UserError: wrong input; nothing was started.
        RunError: a node that died, or a scheduler that decides what cannot be.
    """
    begun_s = wall_clock_s()
    _check_lasting(() if local else spec.faults)
    stream = ServingSetup(spec).stream()
    plain = replace(stream, requests=[replace(each, prefix=()) for each in stream.requests])
    need = sum(-(-each.total_tokens // BLOCK_TOKENS) + 1 for each in plain.requests)
    say = None if progress is None else lambda text: progress(0, 1, text)
    serving = LiveServing(spec, need, say)
    check_requests(plain, serving.setup.shape, serving.blocks)
    vocabulary = serving.setup.shape.vocab
    with this_process(serving) if local else live_nodes(serving) as run:
        server = serving.start(run, plain)
        for request in plain.requests:
            server.texts.begin(request.number, prompt_ids(request, vocabulary, spec.seed))
        if progress is not None:
            server.loop.progress = lambda done, of: progress(done, of, "requests")
        server.loop.run()
    found = finished(spec, serving.setup, plain, server.loop, server.cluster, begun_s, server.outages)
    if any(each.prefix for each in stream.requests):
        found.notes.append("prefixes of prompts are not shared with values: every request computes its own")
    if serving.blocks < min(each.blocks for each in serving.setup.instances):
        found.notes.append(
            f"the KV pool of an instance has {serving.blocks * BLOCK_TOKENS} tokens here, less than the declared "
            f"device has room for, since this machine holds it; change it with --kv-tokens"
        )
    checked = CheckedAnswers(answers={each.number: server.texts.answer(each.number) for each in plain.requests})
    if check:
        _compare(checked, serving, server, [state.request for state in server.loop.states if state.outcome == "ok"])
    return found, checked


def _compare(
    checked: CheckedAnswers, serving: LiveServing, server: RunningServer, requests: Sequence[ClientRequest]
) -> None:
    """Runs every prompt alone, those of equal lengths beside each other."""
    from controller.execute.local import one_thread

    alike: dict[tuple[int, int], list[int]] = {}
    for request in requests:
        alike.setdefault((request.prompt_tokens, request.output_tokens), []).append(request.number)
    for (_, output), numbers in alike.items():
        prompts = [server.texts.prompt(number) for number in numbers]
        with one_thread():  # more would wait for each other, as the matrices are small
            reference = generate_reference(serving.weights, prompts, output, ())
        checked.made_by = reference.made_by
        for number, expected in zip(numbers, reference.tokens, strict=True):
            same = sum(ours == plain for ours, plain in zip(checked.answers[number], expected, strict=False))
            checked.tokens_equal += same
            checked.tokens_compared += len(expected)
            checked.requests_equal += list(expected) == checked.answers[number]
