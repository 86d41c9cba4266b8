"""The options of Lamina and of its baseline as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.errors import BadTopology, BadWorkload
from controller.models.scenario import Scenario
from controller.strategies.placement import devices, option_int

MODEL, MEMORY = "model", "memory"
"""Groups of a topology that the two pools are taken from."""
STREAM_ONLY = ("max_batch", "utilisation", "host_step", "host_sequence", "grain")
"""Options of a stream that a fixed batch would ignore."""
FIXED_ONLY = ("prefill",)
"""The other way round: a stream is decoded alone."""


@dataclass(frozen=True, slots=True)
class Pools:
    """Who does what, and how many batches take turns.

    Attributes:
        replicas: devices of every model replica, each of as many.
        memories: devices that hold the KV cache.
        batches: that run concurrently.
        overlap: q is sent ahead of k and v.
        stack: name of the network stack.
    """

    replicas: tuple[tuple[str, ...], ...]
    memories: tuple[str, ...]
    batches: int
    overlap: bool
    stack: str

    @property
    def groups(self) -> tuple[str, ...]:
        """Which of q, k and v are one matrix: all that is needed at the same time."""
        return ("q", "kv") if self.memories and self.overlap else ("qkv",)


def has_stream(scenario: Scenario) -> bool:
    """Whether ``--requests`` asks for a stream of requests instead of a fixed batch.

    Raises:
        BadWorkload: an option that only the other of the two has.
    """
    streams = "requests" in scenario.options
    for name in FIXED_ONLY if streams else STREAM_ONLY:
        if name in scenario.options:
            flag = f"--{name.replace('_', '-')}"
            raise BadWorkload(
                f"{flag} {scenario.options[name]} belongs to "
                + ("a fixed batch, but --requests asks for a stream" if streams else "a stream of requests")
                + f": remove {flag}" + ("" if streams else ", or name a stream with --requests")
            )  # fmt: skip
    return streams


def pools_of(scenario: Scenario) -> Pools:
    """What ``--dop``, ``--stagger``, ``--overlap`` and ``--stack`` say.

    Raises:
        BadTopology: a pool has fewer devices than the DOP asks for.
        BadWorkload: an option that cannot be meant, or replicas that do not divide the model devices.
    """
    text = scenario.options.get("dop", "2,4")
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise BadWorkload(f"option dop is {text!r}; write model devices and memory devices, for example 2,4")
    models, memories = int(parts[0]), int(parts[1])
    # A single sequence has nothing to take turns with.
    alone = scenario.batch == 1 and "requests" not in scenario.options
    batches = option_int(scenario, "stagger", 1 if alone else 2)
    replicas = max(1, batches - 1)
    if models % replicas:
        raise BadWorkload(
            f"{batches} staggered batches take turns on {replicas} replicas of the model, and {models} model devices "
            f"(option dop {text!r}) cannot be split into {replicas}; choose a multiple, or another --stagger"
        )
    names = _pool(scenario, MODEL, models, text)
    each = models // replicas
    return Pools(
        tuple(names[at : at + each] for at in range(0, models, each)),
        _pool(scenario, MEMORY, memories, text),
        batches,
        choice(scenario, "overlap", ("on", "off")) == "on",
        choice(scenario, "stack", ("fhbn", "nccl")),
    )


def gpus_of(scenario: Scenario, default: int) -> tuple[str, ...]:
    """The GPUs of the baseline: as many as ``--gpus`` says, or all, of the model's pool or of the whole topology.

    Raises:
        BadTopology: there are fewer.
    """
    found = [device for device in devices(scenario, "gpu", "the model") if device.group == MODEL]
    found = found or list(devices(scenario, "gpu", "the model"))
    wanted = len(found) if scenario.options.get("gpus") == "all" else option_int(scenario, "gpus", default)
    if wanted > len(found):
        raise BadTopology(
            f"option gpus is {wanted}, and topology {scenario.topology.name!r} has {len(found)}; give it more with "
            f"--set {found[0].group}.count={wanted}"
        )
    return tuple(device.name for device in found[:wanted])


def choice(scenario: Scenario, name: str, choices: Sequence[str]) -> str:
    """One of `choices`, the first unless told otherwise.

    Raises:
        BadWorkload: it is none of them.
    """
    text = scenario.options.get(name, choices[0])
    if text not in choices:
        raise BadWorkload(f"option {name} is {text!r}; write one of {', '.join(choices)}")
    return text


def _pool(scenario: Scenario, group: str, wanted: int, dop: str) -> tuple[str, ...]:
    topology = scenario.topology
    found = [device for device in topology.devices.values() if device.group == group]
    if not found:
        raise BadTopology(
            f"topology {topology.name!r} has no group {group!r}; Lamina takes its pools from the groups {MODEL!r} and "
            f"{MEMORY!r}, as --topology lamina has them"
        )
    idle = [device.name for device in found if device.spec.compute_queue is None]
    if idle:
        raise BadTopology(f"{idle[0]} of topology {topology.name!r} cannot compute; choose another {group}.product")
    if wanted > len(found):
        raise BadTopology(
            f"option dop is {dop!r}, and topology {topology.name!r} has {len(found)} {group} devices; give it more "
            f"with --set {group}.count={wanted}"
        )
    return tuple(device.name for device in found[:wanted])
