"""What nccl-tests, nvbandwidth, fio and Intel MLC print, as constants of a sheet.

Each reader looks for the lines that its tool is known by; text that no reader knows is an error, never a guess. A
figure that exceeds what the sheet says a part can do is refused: it was measured of more than one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from controller.devices.calibrate.tools.fio import read_fio
from controller.devices.calibrate.tools.found import Found, without_launcher
from controller.devices.calibrate.tools.mlc import read_mlc
from controller.devices.calibrate.tools.nccl_tests import read_nccl_tests
from controller.devices.calibrate.tools.nvbandwidth import read_nvbandwidth
from controller.devices.calibrate.tools.unread import unread_tool
from controller.errors import BadMeasurements
from node.hardware.device import DeviceSpec
from node.hardware.units import format_quantity, parse

MARGIN: Final = {"datasheet": 1.01, "measured": 1.15, "assumed": 1.5}
"""Most that a measured rate may exceed the sheet's, by what the sheet's is: a datasheet tells the peak, and what was
measured before is 0.87 of a peak or more, as links and memories are."""
FLASH_MARGIN: Final = 1.1
"""The same for drives, whose datasheets promise less than a new drive may do."""

_GPU_LINE: Final = re.compile(
    r"^(?:#?\s*Rank\s+\d+\b.*?\bdevice\s+\d+\s+\[[^\]]*\]|Device \d+:|Process \d+ \([^)]*\): device \d+:"
    r"|.*?\"\d+: (?=NVIDIA))\s*([^(\n\"]+)",
    re.MULTILINE,
)
"""How nccl-tests and nvbandwidth, also its JSON and over several nodes, name a GPU."""
_GPU_MODEL: Final = re.compile(r"\b(?:[ABHLV]\d{2,3}S?|GB\d{3}|MI\d{3}X?|RTX \w+ ?\d{4}|P\d{3}|T4)\b")

HOST_PORTS: Final = ("pcie", "c2c", "host")
"""Ports over which a GPU reaches its processor; a sheet has one of them."""

Reader = Callable[[str, str], list[Found]]


def read_pasted(text: str, where: str = "pasted text") -> tuple[str, list[Found]]:
    """The tool that printed `text`, and the constants in it.

    Raises:
        BadMeasurements: no tool is known by it, it holds no figure, or one of more than a device.
    """
    bare = without_launcher(text)
    for tool, (mark, reader) in _TOOLS.items():
        if re.search(mark, bare, re.MULTILINE):
            found = reader(bare, where)
            if not found:
                raise BadMeasurements(f"{where}: output of {tool}, but no figure in it that tells a constant")
            return tool, found
    other, advice = unread_tool(bare)
    if other:
        raise BadMeasurements(f"{where}: the output of {other} is not read, only of {', '.join(_TOOLS)}; {advice}")
    raise BadMeasurements(f"{where}: not the output of {', '.join(_TOOLS)}; paste it whole, with its headings")


def other_device(text: str, spec: DeviceSpec) -> str:
    """The GPU that the output names, where that is another one than `spec`; "" where it is the same, or unnamed."""
    named = _GPU_LINE.search(without_launcher(text))
    model = _GPU_MODEL.search(named[1]) if named is not None else None
    if named is None or model is None:
        return ""
    known = f"{spec.product} {spec.description}".lower().replace("_", " ")
    same = re.search(rf"(?<![a-z0-9]){re.escape(model[0].lower())}(?![a-z0-9])", known)
    # A card in a slot and a module of the same chip have other links and other power.
    slot = "pcie" in named[1].lower() and "sxm" in spec.product
    module = "sxm" in named[1].lower() and "pcie" in spec.product
    return "" if same and not slot and not module else named[1].strip(" :")


def in_sheet(found: Sequence[Found], spec: DeviceSpec, where: str) -> tuple[list[Found], list[str]]:
    """The constants that the sheet has a place for, and what is to be said of the others.

    Raises:
        BadMeasurements: none of them has a place.
    """
    parts = (*spec.tiers, *spec.ports, *spec.queues, *spec.computes)
    way = next((name for name in HOST_PORTS if name in spec.ports), "pcie")
    found = [replace(each, path=re.sub(r"^pcie(?=\.)", way, each.path)) for each in found]
    fitting = [each for each in found if each.path.partition(".")[0] in parts]
    left = [each for each in found if each not in fitting]
    if not fitting:
        raise BadMeasurements(
            f"{where}: {left[0].path} = {left[0].text} has no place: {spec.product} has no "
            f"{left[0].path.partition('.')[0]}, only {', '.join(parts)}; give --device the product that was measured"
        )
    return fitting, [f"{each.path} = {each.text}: {spec.product} has no {each.path.partition('.')[0]}" for each in left]


def said_of_slow_memory(found: Sequence[Found], spec: DeviceSpec) -> list[str]:
    """Rates of memory that are less than half of the sheet's: right where sockets of channels are empty."""
    return [
        f"{each.path} = {each.text} is less than half of the {format_quantity(constant.value, 'bytes/s')} of "
        f"{spec.product}; if that is one socket of several that the sheet counts as one, give the sheet of one socket"
        for each in found
        if (constant := spec.constants.get(each.path)) is not None
        and each.path in ("dram.read", "dram.write")
        and parse(each.text, "bytes/s") < LEAST_LINK * constant.value
    ]


def refuse_beyond_peak(found: Sequence[Found], spec: DeviceSpec, where: str) -> None:
    """Refuses rates that the sheet says a part cannot reach.

    Raises:
        BadMeasurements: such a rate, with what may have been measured.
    """
    for each in found:
        constant = spec.constants.get(each.path)
        if constant is None:
            continue
        if each.path.endswith("latency"):
            _refuse_cache(each, constant.value, spec, where)
            continue
        rate = parse(each.text, "bytes/s")
        part = each.path.partition(".")[0]
        if part in _LANES and rate < LEAST_LINK * constant.value:
            raise BadMeasurements(
                f"{where}: {each.path} = {format_quantity(rate, 'bytes/s')} ({each.method}) is less than half of "
                f"the {format_quantity(constant.value, 'bytes/s')} of {spec.product}, so it is of PCIe or of a few of "
                f"its links; paste all_gather_perf of GPUs that are joined by all of them"
            )
        margin = FLASH_MARGIN if part == "flash" else MARGIN[constant.kind]
        if rate > margin * constant.value:
            most = format_quantity(constant.value, "bytes/s")
            raise BadMeasurements(
                f"{where}: {each.path} = {format_quantity(rate, 'bytes/s')} ({each.method}) exceeds the {most} of one "
                f"{spec.product} ({constant.kind}: {constant.source}); {_ADVICE.get(part, _OTHER)}"
            )


def _refuse_cache(found: Found, usual_s: float, spec: DeviceSpec, where: str) -> None:
    if found.path.endswith(".read_latency") and parse(found.text, "s") < LEAST_LATENCY * usual_s:
        raise BadMeasurements(
            f"{where}: {found.path} = {found.text} ({found.method}) is far below the {format_quantity(usual_s, 's')} "
            f"of {spec.product}, so it is of a cache; repeat it over a buffer that no cache holds"
        )


LEAST_LATENCY: Final = 0.4
"""Least of the sheet's latency that memory itself may have: caches of processors and hosts are far below."""
_LANES: Final = ("nvlink", "xgmi")
LEAST_LINK: Final = 0.5
"""Least that GPUs which are joined by all of their links reach, of what the sheet says."""

_ADVICE: Final = {
    "dram": "if the machine has several sockets, paste the matrix of mlc too, or bind the run to one socket",
    "flash": "if the run was over several drives or the page cache, repeat it on one with --direct=1",
    "nvlink": "an all-reduce that switches add up (NVLS) moves less than its bus bandwidth says; paste "
    "all_gather_perf, or a run with NCCL_NVLS_ENABLE=0, of this product",
}
_OTHER: Final = "give the measurement of one device of this product"

_TOOLS: Final[dict[str, tuple[str, Reader]]] = {
    "nvbandwidth": (
        r"^\s*nvbandwidth Version|^\s*memcpy (?:CE|SM|local) .*bandwidth|^\s*Running \w+_memcpy_"
        r"|^\s*Running device_local_copy|\"nvbandwidth\"",
        read_nvbandwidth,
    ),
    "nccl-tests": (r"^\s*#?.*(?:algbw\s+busbw|nccl-tests|out-of-place)|\"(?:bus_bw|busbw)\"", read_nccl_tests),
    "fio": (r"^\s*(?:read|write)\s*: (?:IOPS|io)=|^\d;fio-|^\s*(?:READ|WRITE): (?:bw|io)=|\"fio version\"", read_fio),
    "Intel MLC": (r"Intel\(R\) Memory Latency Checker|^\s*ALL Reads\s*:|^Measuring idle latencies", read_mlc),
}
"""Tool -> how its output is known, and its reader."""
