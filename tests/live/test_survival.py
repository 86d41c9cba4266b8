"""Training on node processes goes on after failures, with the losses of an undisturbed run to the last bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread, Timer

import numpy as np
import pytest

from controller.clock import wall_clock_s
from controller.experiment.run_spec import LIVE_DTYPE
from controller.experiment.surviving import SurvivedTraining, losses_differ, train_surviving
from controller.launch import Cluster
from controller.models.catalog import load_model
from controller.models.training import InitialWeights, draw_tokens
from controller.models.training_scenario import TrainingScenario
from controller.offload.checkpoint_folder import CheckpointFolder, FolderTakenOver, SavedStates
from controller.topology.loader import load_topology

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
STEPS, BATCH, SEQ, TIMEOUT_S = 4, 2, 8, 2.0
SHRUNK = 0.05
"""Losses of fewer replicas are means over fewer batches: they agree to this share."""
REPOSITORY = Path(__file__).resolve().parents[2]


def scenario(gpus: int = 2, **options: str) -> TrainingScenario:
    topology = load_topology("dgx_h100", (f"gpu.count={gpus}",))
    shape = load_model("tiny-opt")
    tokens = draw_tokens(shape, STEPS, gpus, BATCH, SEQ, 0)
    weights = InitialWeights(shape, 0)
    return TrainingScenario(topology, shape, BATCH, SEQ, STEPS, LIVE_DTYPE, weights, tokens, options or {"dp": "2"})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> SurvivedTraining:
    found = train_surviving(scenario(), tmp_path_factory.mktemp("undisturbed"))
    assert len(found.losses) == STEPS and not found.failures
    return found


def same(found: SurvivedTraining, expected: SurvivedTraining) -> None:
    assert found.losses == expected.losses, "bit-equal"
    assert found.parameters.keys() == expected.parameters.keys()
    for name, values in found.parameters.items():
        assert np.array_equal(values, expected.parameters[name]), name


def at_step(folder: Path, step: int, act: Callable[[], None]) -> None:
    """Acts as soon as the folder has the checkpoint of a step; in another thread."""

    def watch() -> None:
        deadline, pause = wall_clock_s() + 60.0, Event()
        while not (folder / f"step{step:08}.npz").exists() and wall_clock_s() < deadline:
            pause.wait(0.002)
        act()

    Thread(target=watch, daemon=True).start()


def killing(folder: Path, *devices: str, number: signal.Signals = signal.SIGKILL, attempts: tuple[int, ...] = (0,)):
    """Strikes devices behind the first step of those attempts; later ones right at their start."""

    def strike(cluster: Cluster, attempt: int) -> None:
        if attempt not in attempts:
            return
        processes = [cluster.processes[device] for device in devices if device in cluster.processes]

        def act() -> None:
            for process in processes:
                os.kill(process, number)

        if attempt:
            act()
        else:
            at_step(folder, 1, act)

    return strike


@pytest.mark.parametrize("recovery", ["restart", "replica"])
def test_a_killed_node(tmp_path: Path, undisturbed: SurvivedTraining, recovery: str) -> None:
    found = train_surviving(scenario(), tmp_path, recovery=recovery, strike=killing(tmp_path, "gpu1"))
    same(found, undisturbed)
    assert [failure.device for failure in found.failures] == ["gpu1"] and found.failures[0].resumed_step >= 1


@pytest.mark.slow
def test_a_spare_takes_the_place_of_a_node(tmp_path: Path, undisturbed: SurvivedTraining) -> None:
    whole = scenario(3, dp="2")
    found = train_surviving(whole, tmp_path, recovery="spare", strike=killing(tmp_path, "gpu1"))
    same(found, train_surviving(whole, tmp_path / "alone"))
    assert found.failures and found.replicas == 2


@pytest.mark.slow
def test_fewer_replicas_go_on_within_the_tolerance(tmp_path: Path, undisturbed: SurvivedTraining) -> None:
    found = train_surviving(scenario(), tmp_path, recovery="shrink", strike=killing(tmp_path, "gpu1"))
    assert found.replicas == 1 and found.failures
    assert found.losses[0] == undisturbed.losses[0] and losses_differ(found.losses, undisturbed.losses) < SHRUNK


def test_a_frozen_node_is_replaced_and_cannot_wake(tmp_path: Path, undisturbed: SurvivedTraining) -> None:
    stopped: list[int] = []
    strike = killing(tmp_path, "gpu0", number=signal.SIGSTOP)

    def remember(cluster: Cluster, attempt: int) -> None:
        stopped.append(cluster.processes["gpu0"])
        strike(cluster, attempt)

    found = train_surviving(scenario(), tmp_path, node_timeout_s=TIMEOUT_S, strike=remember)
    same(found, undisturbed)
    assert [failure.device for failure in found.failures] == ["gpu0"]
    with pytest.raises(ProcessLookupError):
        os.kill(stopped[0], signal.SIGCONT)


@pytest.mark.slow
def test_a_node_that_goes_on_in_time_is_no_failure(tmp_path: Path, undisturbed: SurvivedTraining) -> None:
    def strike(cluster: Cluster, attempt: int) -> None:
        process = cluster.processes["gpu1"]

        def pause() -> None:
            os.kill(process, signal.SIGSTOP)
            Timer(0.5, os.kill, (process, signal.SIGCONT)).start()

        at_step(tmp_path, 1, pause)

    found = train_surviving(scenario(), tmp_path, strike=strike)
    same(found, undisturbed)
    assert not found.failures


@pytest.mark.slow
def test_two_at_once_and_a_failure_during_recovery(tmp_path: Path, undisturbed: SurvivedTraining) -> None:
    strike = killing(tmp_path, "gpu0", "gpu1", attempts=(0, 1))
    found = train_surviving(scenario(), tmp_path, recovery="replica", strike=strike)
    same(found, undisturbed)
    assert len(found.failures) == 2 and found.failures[0].source in ("folder", "peer")


@pytest.mark.slow
def test_tensor_parallel_ranks_survive_too(tmp_path: Path) -> None:
    whole = scenario(4, dp="2", tp="2")
    found = train_surviving(whole, tmp_path, recovery="replica", strike=killing(tmp_path, "gpu2"))
    same(found, train_surviving(whole, tmp_path / "alone"))
    assert found.failures


@pytest.mark.parametrize(
    "when", [pytest.param("between steps", marks=pytest.mark.slow), "in the middle of a checkpoint"]
)
def test_a_controller_that_is_killed_goes_on_where_it_was(
    tmp_path: Path, undisturbed: SurvivedTraining, when: str
) -> None:
    words = [sys.executable, "-m", "tests.live.killed_training", str(tmp_path), when]
    run = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert CheckpointFolder(tmp_path).steps() == ([1, 2] if when == "between steps" else [1])
    same(train_surviving(scenario(), tmp_path), undisturbed)


def test_a_controller_that_wakes_after_it_was_replaced_writes_nothing(tmp_path: Path) -> None:
    old = CheckpointFolder(tmp_path)
    states = SavedStates(1, (1.0,), {"a": np.ones(3, np.float32)})
    old.save(states)
    new = CheckpointFolder(tmp_path)
    with pytest.raises(FolderTakenOver, match="epoch 1 of this controller is over, it is 2: nothing was written"):
        old.save(SavedStates(2, (1.0, 2.0), {"a": np.zeros(3, np.float32)}))
    found = new.newest()
    assert found is not None and found.step == 1 and not list(tmp_path.glob("*.part"))


def test_a_damaged_checkpoint_counts_for_nothing(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2, 3):
        folder.save(SavedStates(step, (1.0,) * step, {"a": np.full(3, step, np.float32)}))
    assert folder.steps() == [2, 3]
    (tmp_path / "step00000003.npz").write_bytes(b"PK torn")
    found = folder.newest()
    assert found is not None and found.step == 2 and json.dumps(found.losses) == "[1.0, 1.0]"
