"""The options of Lamina and of its baseline as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from controller.errors import BadTopology, BadWorkload
from controller.models.scenario import Scenario
from controller.program.options import Choice, Count, Duration, Options, Parsed, Share, Switch, Text, option
from controller.strategies.placement import devices

MODEL, MEMORY = "model", "memory"
"""Groups of a topology that the two pools are taken from."""
STREAM_ONLY = ("max_batch", "utilisation", "host_step", "host_sequence", "grain")
"""Options of a stream that a fixed batch would ignore."""
FIXED_ONLY = ("prefill",)
"""The other way round: a stream is decoded alone."""


UTILISATION: Final = 0.9
"""Share of a device's memory that a server takes (vLLM's default)."""


def _dop(text: str) -> tuple[int, int]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(text)
    return int(parts[0]), int(parts[1])


def _count_or_all(text: str) -> int | None:
    if text == "all":
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(text)
    return int(text)


@dataclass(frozen=True)
class StreamOptions(Options):
    """What a user may choose of a stream of requests, and of a fixed batch instead."""

    requests: Text | None = option(
        None, "a stream of requests instead of --batch: azure_conv, azure_code, kimi_conv, kimi_ta, or a CSV file"
    )
    max_batch: Count = option(0, "requests of a stream at once, at most; 0 for as many as the KV cache holds", least=0)
    utilisation: Share = option(UTILISATION, "share of a device's memory that the server takes")
    host_step: Duration = option("5 ms", "host time of an iteration of a stream")
    host_sequence: Duration = option("31.25 us", "host time of every request in it")
    grain: Count = option(32, "steps an octave to which batches of a stream are rounded, 0 for none", least=0)
    prefill: Choice = option(
        "here", "where prompts of a fixed batch are computed; elsewhere: they are there when time starts",
        choices=("here", "elsewhere"),
    )  # fmt: skip


@dataclass(frozen=True)
class LaminaOptions(StreamOptions):
    """What a user may choose of Lamina."""

    dop: Annotated[tuple[int, int], Parsed(_dop, "model devices and memory devices, for example 2,4")] = option(
        "2,4", "model devices and memory devices"
    )
    stagger: Count | None = option(
        None, "concurrent batches that take turns on one replica less than that", absent="2; 1 for --batch 1"
    )
    overlap: Switch = option(True, "q is sent ahead of k and v")
    stack: Choice = option("fhbn", "the network stack between the pools", choices=("fhbn", "nccl"))
    probe: Choice | None = option(
        None, "a ping-pong and a long message between the pools instead of a generation", choices=("network",)
    )


@dataclass(frozen=True)
class TensorParallelOptions(StreamOptions):
    """What a user may choose of Lamina's baseline; all GPUs are None."""

    gpus: Annotated[int | None, Parsed(_count_or_all, "a whole number of at least 1, or all")] = option(
        4, "tensor-parallel GPUs, or all"
    )


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
    options = LaminaOptions.of(scenario.options)
    models, memories = options.dop
    text = f"{models},{memories}"
    # A single sequence has nothing to take turns with.
    alone = scenario.batch == 1 and options.requests is None
    batches = options.stagger or (1 if alone else 2)
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
        options.overlap,
        options.stack,
    )


def gpus_of(scenario: Scenario) -> tuple[str, ...]:
    """The GPUs of the baseline: as many as ``--gpus`` says, or all, of the model's pool or of the whole topology.

    Raises:
        BadTopology: there are fewer.
    """
    found = [device for device in devices(scenario, "gpu", "the model") if device.group == MODEL]
    found = found or list(devices(scenario, "gpu", "the model"))
    wanted = TensorParallelOptions.of(scenario.options).gpus or len(found)
    if wanted > len(found):
        raise BadTopology(
            f"option gpus is {wanted}, and topology {scenario.topology.name!r} has {len(found)}; give it more with "
            f"--set {found[0].group}.count={wanted}"
        )
    return tuple(device.name for device in found[:wanted])


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
