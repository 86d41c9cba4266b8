"""Devices that training runs on."""

from __future__ import annotations

from controller.errors import BadTopology
from controller.models.training_scenario import TrainingScenario
from controller.plan.value import Place


def training_gpus(scenario: TrainingScenario) -> tuple[str, ...]:
    """Names of the GPUs of the topology that run kernels, in its order.

    Raises:
        BadTopology: the topology has no such device.
    """
    found = [device for device in scenario.topology.of_kind("gpu") if device.spec.compute_queue is not None]
    if not found:
        raise BadTopology(f"topology {scenario.topology.name!r} has no gpu that computes; choose another --topology")
    return tuple(device.name for device in found)


def chosen_gpus(scenario: TrainingScenario, wanted: int | None = None) -> list[str]:
    """The GPUs that take part: as many as the option ``gpus`` says, all of the topology where that is None.

    Raises:
        BadTopology: the topology has fewer, or none.
    """
    return list(training_gpus(scenario)) if wanted is None else first_gpus(scenario, wanted, f"option gpus is {wanted}")


def first_gpus(scenario: TrainingScenario, wanted: int, asked: str) -> list[str]:
    """The first GPUs of the topology.

    Args:
        scenario: of the run.
        wanted: how many.
        asked: what the user wrote, for the message.

    Raises:
        BadTopology: the topology has fewer, or none.
    """
    found = list(training_gpus(scenario))
    if wanted > len(found):
        raise BadTopology(
            f"{asked}, and topology {scenario.topology.name!r} has {len(found)} GPUs; "
            f"give it more with --set {scenario.topology.devices[found[0]].group}.count={wanted}"
        )
    return found[:wanted]


def host_of(scenario: TrainingScenario) -> Place:
    """Main memory.

    Raises:
        BadTopology: the topology has no such device.
    """
    found = scenario.topology.of_kind("cpu")
    if not found:
        raise BadTopology(f"topology {scenario.topology.name!r} has no cpu with main memory; choose another --topology")
    return Place(found[0].name, "dram")
