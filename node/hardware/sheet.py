"""What a device sheet may say: every key, its dimension and what it means.

A sheet is YAML, one product a file. Numbers are written ``{value: 768 GB/s, kind: datasheet, source: ...}``, or
``768 GB/s`` alone, which counts as assumed with the file as its source; switches and names (``storage``, ``simplex``,
``slots``, the ``kind`` of a queue) are plain. `reader.py` turns a sheet into constants by path, and `assemble` turns
constants into a `DeviceSpec`, so that an override and a sheet go the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from node.errors import BadSheet
from node.hardware.device import (
    ComputeSpec,
    Constant,
    DeviceKind,
    DeviceSpec,
    PortSpec,
    QueueKind,
    QueueSpec,
    StorageKind,
    TierSpec,
)
from node.hardware.units import unphysical

DEVICE_KINDS: Final[tuple[DeviceKind, ...]] = ("gpu", "cpu", "cxl", "csd", "npu", "nic")
STORAGE_KINDS: Final[tuple[StorageKind, ...]] = ("dram", "flash")
QUEUE_KINDS: Final[tuple[QueueKind, ...]] = ("compute", "copy", "issue", "command")
COMPUTE_UNITS: Final = ("tensor", "vector", "engine")
PEAK_DTYPES: Final = ("fp64", "fp32", "fp16", "bf16", "fp8", "int8", "int32", "int64")

TIER_NUMBERS: Final[Mapping[str, str]] = {
    "capacity": "bytes",
    "read": "bytes/s",
    "write": "bytes/s",
    "total": "bytes/s",
    "read_latency": "s",
    "write_latency": "s",
    "page": "bytes",
    "endurance": "bytes",
}
PORT_NUMBERS: Final[Mapping[str, str]] = {
    "read": "bytes/s",
    "write": "bytes/s",
    "total": "bytes/s",
    "latency": "s",
    "pageable": "bytes/s",
    "sustained": "bytes/s",  # what long messages reach; for predictions beside measurements, as all that follow
    "message": "s",  # between the starts of messages that are posted back to back, however short
    "half": "bytes",  # message that reaches half of the rate back to back: another way to say `message`
    "payload": "bytes",  # most that a packet carries
    "header": "bytes",  # what a packet takes beside it
}
QUEUE_NUMBERS: Final[Mapping[str, str]] = {
    "launch": "s",  # between the starts of back-to-back ops
    "graph": "s",  # the gap between ops of a replayed graph; for predictions beside measurements
    "share": "ratio",  # of the cores of every compute unit, where streams split a device
}
POWER_NUMBERS: Final[Mapping[str, str]] = {"idle": "W", "busy": "W"}

COMPUTE_NUMBERS: Final[Mapping[str, str]] = {
    "sm_count": "count",  # streaming multiprocessors (compute units, cores) that tiles are dealt to
    "clock": "Hz",  # highest clock of the unit; what takes a fixed number of cycles scales with it
    "l2": "bytes",  # last-level cache in front of device memory
    "l2_read": "bytes/s",  # what it gives to all units together
    "private": "bytes",  # caches of all units together in front of it that hold other lines than it does
    "l2_parts": "count",  # partitions of it that each keep a copy of what all units read
    "bulk_copies": "count",  # 1 when units load tiles by an engine of their own (tensor memory accelerator)
    "early_start": "count",  # 1 when kernels start before the one before them ends (programmatic dependent launch)
    "matrix_rows": "count",  # rows of one matrix instruction
    "gemm_efficiency": "ratio",  # share of the peak that the largest tile reaches in a short product
    "sustained_efficiency": "ratio",  # share of the peak that the power limit leaves to long products
    "prefill_efficiency": "ratio",  # share of the peak that the arithmetic of fused attention reaches
    "latent_efficiency": "ratio",  # share of the peak that attention over latents reaches
    "decode_efficiency": "ratio",  # share of the tier's bandwidth that decode attention reaches
    "decode_block": "ratio",  # cycles of a block of decode attention over those of TensorRT-LLM's kernels, with `swap`
    "decode_swap": "count",  # 1 where the library brings the query heads of a KV head together by kernels of their own
    "memory_efficiency": "ratio",  # share of the tier's bandwidth that everything else reaches
}
"""Constant of a compute unit -> dimension. A model that finds none uses the roofline itself."""

_RATIO_LIMIT = 1.1  # an efficiency is against the printed peak, which boost clocks may pass a little


@dataclass(frozen=True, slots=True)
class Skeleton:
    """What a sheet says without numbers: names, kinds and switches.

    Attributes:
        tiers: name -> (storage, simplex).
        computes: names of the units.
        ports: name -> simplex.
        queues: name -> (kind, slots).
    """

    product: str
    kind: DeviceKind
    description: str
    tiers: Mapping[str, tuple[StorageKind, bool]]
    computes: tuple[str, ...]
    ports: Mapping[str, bool]
    queues: Mapping[str, tuple[QueueKind, int]]


def skeleton_of(spec: DeviceSpec) -> Skeleton:
    """The names, kinds and switches of `spec`."""
    return Skeleton(
        product=spec.product,
        kind=spec.kind,
        description=spec.description,
        tiers={name: (tier.storage, tier.simplex) for name, tier in spec.tiers.items()},
        computes=tuple(spec.computes),
        ports={name: port.simplex for name, port in spec.ports.items()},
        queues={name: (queue.kind, queue.slots) for name, queue in spec.queues.items()},
    )


def known_paths(skeleton: Skeleton) -> dict[str, str]:
    """Every constant path that this device may have -> its dimension."""
    paths: dict[str, str] = {}
    for names, numbers in (
        (skeleton.tiers, TIER_NUMBERS),
        (skeleton.ports, PORT_NUMBERS),
        (skeleton.queues, QUEUE_NUMBERS),
        (skeleton.computes, COMPUTE_NUMBERS),
    ):
        paths |= {f"{name}.{key}": dimension for name in names for key, dimension in numbers.items()}
    paths |= {f"{name}.peak.{dtype}": "FLOP/s" for name in skeleton.computes for dtype in PEAK_DTYPES}
    return paths | {f"power.{key}": dimension for key, dimension in POWER_NUMBERS.items()}


def assemble(skeleton: Skeleton, constants: Mapping[str, Constant], where: str) -> DeviceSpec:
    """The `DeviceSpec` that `skeleton` and `constants` describe.

    Args:
        skeleton: names, kinds and switches.
        constants: by path; every path is one of `known_paths`.
        where: file or ``override``, for errors.

    Raises:
        BadSheet: a tier or port without capacity or bandwidth, a unit without a peak, or an impossible value.
    """

    def number(path: str) -> float | None:
        constant = constants.get(path)
        return None if constant is None else constant.value

    def needed(path: str, positive: bool = True) -> float:
        value = number(path)
        if value is None:
            raise BadSheet(f"{where}: {skeleton.product} needs {path}; add {{value, kind, source}}")
        if positive and value <= 0:
            raise BadSheet(f"{where}: {path} is {constants[path].text}; it must be more than 0")
        return value

    def optional(path: str) -> float | None:
        return None if number(path) is None else needed(path)

    _check_values(constants, known_paths(skeleton), where)
    _check_parts(skeleton, constants, where)
    tiers = {}
    for name, (storage, simplex) in skeleton.tiers.items():
        read = needed(f"{name}.read")
        tiers[name] = TierSpec(
            name=name,
            storage=storage,
            capacity_bytes=_whole(needed(f"{name}.capacity"), f"{name}.capacity", where),
            read_bytes_per_s=read,
            write_bytes_per_s=optional(f"{name}.write") or read,
            total_bytes_per_s=optional(f"{name}.total"),
            simplex=simplex,
            read_latency_s=number(f"{name}.read_latency") or 0.0,
            write_latency_s=number(f"{name}.write_latency") or 0.0,
            page_bytes=_whole(optional(f"{name}.page") or 1, f"{name}.page", where),
            endurance_bytes=optional(f"{name}.endurance"),
        )
    computes = {}
    for name in skeleton.computes:
        peaks = {dtype: needed(path) for dtype in PEAK_DTYPES if (path := f"{name}.peak.{dtype}") in constants}
        if not peaks:
            raise BadSheet(f"{where}: compute unit {name} has no peak; give at least one dtype under {name}.peak")
        given = {key: constants[f"{name}.{key}"].value for key in COMPUTE_NUMBERS if f"{name}.{key}" in constants}
        computes[name] = ComputeSpec(name=name, peak_flop_per_s=peaks, constants=given)
    ports = {}
    for name, simplex in skeleton.ports.items():
        read = needed(f"{name}.read")
        ports[name] = PortSpec(
            name=name,
            read_bytes_per_s=read,
            write_bytes_per_s=optional(f"{name}.write") or read,
            total_bytes_per_s=optional(f"{name}.total"),
            simplex=simplex,
            latency_s=number(f"{name}.latency") or 0.0,
            pageable_bytes_per_s=optional(f"{name}.pageable"),
        )
    queues = {
        name: QueueSpec(name, kind, slots, number(f"{name}.launch") or 0.0, optional(f"{name}.share") or 1.0)
        for name, (kind, slots) in skeleton.queues.items()
    }
    return DeviceSpec(
        product=skeleton.product,
        kind=skeleton.kind,
        description=skeleton.description,
        tiers=tiers,
        computes=computes,
        ports=ports,
        queues=queues,
        power_w={key: constants[f"power.{key}"].value for key in POWER_NUMBERS if f"power.{key}" in constants},
        constants=dict(constants),
    )


def overridden(constant: Constant, text: str, value: float) -> Constant:
    """`constant` with another value, marked as assumed by the user."""
    return replace(constant, text=text, value=value, kind="assumed", source="override")


def _check_values(constants: Mapping[str, Constant], dimensions: Mapping[str, str], where: str) -> None:
    for path, constant in constants.items():
        complaint = unphysical(constant.value, dimensions[path])
        if complaint:
            raise BadSheet(f"{where}: {path} is {constant.text}; {complaint}")
        if path.endswith("_efficiency") and not 0 < constant.value <= _RATIO_LIMIT:
            raise BadSheet(f"{where}: {path} is {constant.text}; an efficiency is above 0 and at most {_RATIO_LIMIT}")
        if path.endswith(".share") and not 0 < constant.value <= 1:
            raise BadSheet(f"{where}: {path} is {constant.text}; a share of the cores is above 0 and at most 1")
        if path.endswith(".sm_count") and (constant.value < 1 or constant.value != int(constant.value)):
            raise BadSheet(f"{where}: {path} is {constant.text}; it must be a whole number of at least 1")


def _check_parts(skeleton: Skeleton, constants: Mapping[str, Constant], where: str) -> None:
    if skeleton.kind == "nic" and (skeleton.tiers or skeleton.computes or skeleton.queues):
        extra = ", ".join((*skeleton.tiers, *skeleton.computes, *skeleton.queues))
        raise BadSheet(f"{where}: {skeleton.product} is a nic and has {extra}; a nic has ports and nothing else")
    if skeleton.kind == "nic" and not skeleton.ports:
        raise BadSheet(f"{where}: {skeleton.product} is a nic without a port; give at least one under ports")
    for name in skeleton.ports:
        if f"{name}.message" in constants and f"{name}.half" in constants:
            raise BadSheet(f"{where}: {name} has both `message` and `half`, which say the same: remove one")


def _whole(value: float, path: str, where: str) -> int:
    if value != int(value) or value < 1:
        raise BadSheet(f"{where}: {path} is {value} bytes; it must be a whole number of at least 1")
    return int(value)
