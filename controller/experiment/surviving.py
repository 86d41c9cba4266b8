"""Training on live nodes that survives failures: of nodes, of several at once, of a recovery, and of the controller.

After a failure all nodes end and new ones start: what is kept is in the folder of the run or in the memory of peers,
and is read from them before they end.

=========  =======================================================================================================
policy     goes on
=========  =======================================================================================================
restart    with the newest checkpoint of the folder, on the same devices
spare      with the newest checkpoint, on the next device of the topology in place of the one that failed
replica    with the states that the next replica holds in memory, of the last step; with the folder's without them
shrink     with the newest checkpoint and as many replicas fewer as failed; losses are means over fewer batches then
=========  =======================================================================================================

Losses and parameters are bit-equal to those of a run without faults under restart, spare and replica: states are copied
and not recomputed, and every step is a function of its states and its tokens. A controller that is called again with
the same folder goes on where it was; one that wakes after it was replaced is fenced (`checkpoint_folder.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from controller.errors import DeviceUnreachable, RunError, StartFailed, UserError
from controller.execute.dispatch import buffer_key
from controller.execute.live import run_live
from controller.launch import Cluster, launch
from controller.models.training_scenario import TrainingScenario
from controller.offload.checkpoint_folder import CheckpointFolder, SavedStates
from controller.offload.recovery import StateKeeper
from controller.offload.train import train
from controller.program.results import TrainingResult
from controller.program.run import Array
from controller.strategies.train_gpu_only import TrainGpuOnly
from controller.topology.schema import Topology
from node.errors import NodeError
from node.protocol import NODE_TIMEOUT_S

SURVIVAL = ("restart", "spare", "replica", "shrink")
MOST_FAILURES = 16
"""Failures after which it gives up: something is broken for good."""

Strike = Callable[[Cluster, int], None]
"""Called with the nodes and how often nodes have started before, ahead of the first step."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure and what came of it.

    Attributes:
        device: that was named; "" when nodes did not start.
        message: the error.
        resumed_step: the step that was next, from 0.
        source: ``folder``, ``peer`` or ``start``.
    """

    device: str
    message: str
    resumed_step: int
    source: str


@dataclass(frozen=True, slots=True)
class SurvivedTraining:
    """A training run that ended.

    Attributes:
        losses: of every step.
        parameters: by canonical name.
        failures: in order.
        replicas: that were left at the end.
    """

    losses: tuple[float, ...]
    parameters: Mapping[str, Array]
    failures: tuple[Failure, ...]
    replicas: int


def train_surviving(
    scenario: TrainingScenario,
    folder: Path,
    *,
    recovery: str = "restart",
    every: int = 1,
    node_timeout_s: float = NODE_TIMEOUT_S,
    strike: Strike | None = None,
) -> SurvivedTraining:
    """Trains with `train_gpu_only` and goes on after failures.

    Args:
        scenario: of the run; its options may have dp and tp.
        folder: of its checkpoints; one with some in it goes on there.
        recovery: one of `SURVIVAL`.
        every: steps from one checkpoint to the next.
        node_timeout_s: how long a node may be silent [s of wall time].
        strike: breaks things; for tests.

    Raises:
        UserError: no such recovery, or a folder and steps that do not fit.
        FolderTakenOver: another controller has taken the folder over.
        RunError: it failed `MOST_FAILURES` times, or nothing is left to go on with.
    """
    if recovery not in SURVIVAL:
        raise UserError(f"no recovery {recovery!r}; there are {', '.join(SURVIVAL)}")
    if every < 1:
        raise UserError(f"a checkpoint every {every} steps; write 1 or more")
    checkpoints = CheckpointFolder(folder)
    saved, source = checkpoints.newest(), "folder"
    failures: list[Failure] = []
    starts = 0
    while True:
        keeper = StateKeeper(checkpoints, every, saved, peers=recovery == "replica")
        attempt = _Attempt(scenario, keeper)
        try:
            result = attempt.run(node_timeout_s, strike, starts)
            assert result.parameters is not None, "a live run has values"
            return SurvivedTraining(tuple(keeper.losses), result.parameters, tuple(failures), result.gpus)
        except (DeviceUnreachable, StartFailed, NodeError) as error:
            starts += attempt.has_started
            device = error.device if isinstance(error, DeviceUnreachable) else ""
            if len(failures) >= MOST_FAILURES:
                raise RunError(f"training failed {MOST_FAILURES} times, the last time by {error}") from error
            saved, source = checkpoints.newest(), "folder"
            if attempt.rescued is not None and (saved is None or attempt.rescued.step >= saved.step):
                saved, source = attempt.rescued, "peer"
            scenario = _without(scenario, recovery, attempt.dead | ({device} if device else frozenset()))
            step = 0 if saved is None else saved.step
            failures.append(Failure(device, str(error), step, "start" if saved is None else source))


class _Attempt:
    """One start of the nodes, and how far it came."""

    def __init__(self, scenario: TrainingScenario, keeper: StateKeeper) -> None:
        self._scenario, self._keeper = scenario, keeper
        self.rescued: SavedStates | None = None
        self.dead: frozenset[str] = frozenset()
        self.has_started = False

    def run(self, node_timeout_s: float, strike: Strike | None, number: int) -> TrainingResult:
        scenario, keeper = self._scenario, self._keeper
        model = TrainGpuOnly(scenario)
        with launch(scenario.topology, node_timeout_s=node_timeout_s) as cluster:
            self.has_started = True
            if strike is not None:
                strike(cluster, number)
            try:
                outcome = run_live(
                    scenario.topology, [lambda run: train(run, scenario, model, keeper.first, keeper)], cluster
                )
            except (DeviceUnreachable, NodeError):
                self.dead = cluster.lost
                self.rescued = _rescue(cluster, keeper)
                raise
        if not outcome.ok:
            raise RunError(outcome.ended)
        assert isinstance(outcome.result, TrainingResult), "training gives its result"
        return outcome.result


def _rescue(cluster: Cluster, keeper: StateKeeper) -> SavedStates | None:
    """The newest whole copy in the memory of nodes that still answer; None when there is none."""
    for step, slot in sorted(((step, slot) for slot, step in enumerate(keeper.slots) if step > 0), reverse=True):
        for shadows in keeper.shadows(slot):
            if any(buffer.device in cluster.lost for buffer in shadows.values()):
                continue
            try:
                arrays = {
                    name: np.asarray(cluster.clients[buffer.device].read(buffer_key(buffer)))
                    for name, buffer in shadows.items()
                }
            except (DeviceUnreachable, NodeError):
                continue
            return SavedStates(step, tuple(keeper.losses[:step]), arrays)
    return None


def _without(scenario: TrainingScenario, recovery: str, dead: frozenset[str]) -> TrainingScenario:
    """What is trained next, without the devices that are gone.

    Raises:
        RunError: none is left.
    """
    if recovery not in ("spare", "shrink"):
        return scenario
    topology = _removed(scenario.topology, dead)
    options = dict(scenario.options)
    left = len(topology.of_kind("gpu"))
    tp, dp = int(options.get("tp", "1")), int(options.get("dp", "1"))
    if recovery == "shrink":
        dp = min(dp - 1 if dead else dp, left // tp)
        options["dp"] = str(dp)
    if dp < 1 or left < dp * tp:
        raise RunError(
            f"{', '.join(sorted(dead))} failed and {left} GPUs are left, too few for --dp {max(dp, 1)} times "
            f"--tp {tp}; declare spare GPUs, or choose another recovery"
        )
    return replace(scenario, topology=topology, options=options)


def _removed(topology: Topology, dead: frozenset[str]) -> Topology:
    devices = {name: device for name, device in topology.devices.items() if name not in dead}
    links = tuple(link for link in topology.links if not dead & {link.a.vertex, link.b.vertex})
    return replace(topology, devices=devices, links=links)


def losses_differ(one: Sequence[float], other: Sequence[float]) -> float:
    """Largest relative difference of two runs' losses."""
    return max(abs(a - b) / abs(b) for a, b in zip(one, other, strict=True))
