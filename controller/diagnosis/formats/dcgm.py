"""DCGM's counters as dcgm-exporter serves them, so that dashboards made for a cluster show an emulated one.

Source: dcgm-exporter, etc/default-counters.csv. What a device model has no value for is left out, never a zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

COUNTERS: Mapping[str, tuple[str, str]] = {
    "DCGM_FI_DEV_GPU_UTIL": ("gauge", "GPU utilization (in %)."),
    "DCGM_FI_PROF_SM_ACTIVE": ("gauge", "Ratio of cycles in which a multiprocessor has work."),
    "DCGM_FI_DEV_XID_ERRORS": ("gauge", "Value of the last XID error encountered."),
    "DCGM_FI_DEV_ROW_REMAP_PENDING": ("gauge", "Whether remapping of rows is pending."),
    "DCGM_FI_DEV_NVSWITCH_FATAL_ERRORS": ("counter", "Fatal errors of NVSwitches."),
    "DCGM_FI_DEV_NVSWITCH_NON_FATAL_ERRORS": ("counter", "Other errors of NVSwitches."),
}
FELL_OFF_THE_BUS, CONTAINED_ECC = 79, 94


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """What is known of one device.

    Attributes:
        device, host, model: which.
        values: by name of the counter.
    """

    device: str
    host: str
    model: str
    values: Mapping[str, float]


def dcgm_text(readings: Sequence[DeviceReading]) -> str:
    """Prometheus text; a device of a host has its number there as ``gpu``.

    Raises:
        ValueError: a counter that dcgm-exporter does not have.
    """
    number_of: dict[str, dict[str, int]] = {}
    for reading in readings:
        own = number_of.setdefault(reading.host, {})
        own.setdefault(reading.device, len(own))
        unknown = [name for name in reading.values if name not in COUNTERS]
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: no such counter; there are {', '.join(COUNTERS)}")
    lines = []
    for name, (kind, text) in COUNTERS.items():
        having = [reading for reading in readings if name in reading.values]
        if having:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        for reading in having:
            number = number_of[reading.host][reading.device]
            labels = (
                f'gpu="{number}",UUID="GPU-{reading.device}",device="nvidia{number}",modelName="{reading.model}",'
                f'hostname="{reading.host}"'
            )
            lines.append(f"{name}{{{labels}}} {reading.values[name]:g}")
    return "\n".join(lines) + "\n" if lines else ""
