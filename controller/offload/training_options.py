"""Devices and options of training strategies."""

from __future__ import annotations

from collections.abc import Sequence

from controller.errors import BadTopology, BadWorkload
from controller.models.training_scenario import TrainingScenario
from controller.plan.value import Place


def training_gpus(scenario: TrainingScenario) -> tuple[str, ...]:
    """Names of the GPUs of the topology that run kernels, in its order.

    Raises:
        BadTopology: there is none.
    """
    found = [device for device in scenario.topology.of_kind("gpu") if device.spec.compute_queue is not None]
    if not found:
        raise BadTopology(f"topology {scenario.topology.name!r} has no gpu that computes; choose another --topology")
    return tuple(device.name for device in found)


def chosen_gpus(scenario: TrainingScenario) -> list[str]:
    """The GPUs that take part: as many as the option ``gpus`` says, all of the topology unless told otherwise.

    Raises:
        BadTopology: the topology has fewer, or none.
    """
    found = list(training_gpus(scenario))
    wanted = option_count(scenario, "gpus", len(found))
    if wanted > len(found):
        raise BadTopology(
            f"option gpus is {wanted}, and topology {scenario.topology.name!r} has {len(found)}; "
            f"give it more with --set {scenario.topology.devices[found[0]].group}.count={wanted}"
        )
    return found[:wanted]


def host_of(scenario: TrainingScenario) -> Place:
    """Main memory.

    Raises:
        BadTopology: there is none.
    """
    found = scenario.topology.of_kind("cpu")
    if not found:
        raise BadTopology(f"topology {scenario.topology.name!r} has no cpu with main memory; choose another --topology")
    return Place(found[0].name, "dram")


def choice_option(scenario: TrainingScenario, name: str, choices: Sequence[str]) -> str:
    """One of `choices`, the first unless told otherwise.

    Raises:
        BadWorkload: it is none of them.
    """
    text = scenario.options.get(name, choices[0])
    if text not in choices:
        raise BadWorkload(f"option {name} is {text!r}; write one of {', '.join(choices)}")
    return text


def option_count(scenario: TrainingScenario, name: str, default: int) -> int:
    """A whole number of at least 1.

    Raises:
        BadWorkload: it is none.
    """
    text = scenario.options.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise BadWorkload(f"option {name} is {text!r}; write a whole number of at least 1")
    return int(text)
