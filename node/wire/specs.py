"""Device specs as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from node.errors import BadSheet
from node.hardware.device import ComputeSpec, Constant, DeviceSpec, PortSpec, QueueSpec, TierSpec


def spec_to_data(spec: DeviceSpec) -> dict[str, Any]:
    """A device spec as JSON-able data."""
    return asdict(spec)


def spec_to_json(spec: DeviceSpec) -> str:
    """A device spec as text."""
    return json.dumps(spec_to_data(spec))


def spec_from_data(data: Mapping[str, Any]) -> DeviceSpec:
    """The inverse of `spec_to_data`.

    Raises:
        BadSheet: an entry is missing or unknown.
    """
    try:
        return DeviceSpec(
            product=data["product"],
            kind=data["kind"],
            description=data["description"],
            tiers={name: TierSpec(**entry) for name, entry in data["tiers"].items()},
            computes={name: ComputeSpec(**entry) for name, entry in data["computes"].items()},
            ports={name: PortSpec(**entry) for name, entry in data["ports"].items()},
            queues={name: QueueSpec(**entry) for name, entry in data["queues"].items()},
            power_w=data.get("power_w", {}),
            constants={path: Constant(**entry) for path, entry in data.get("constants", {}).items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BadSheet(
            f"a device spec on the wire lacks or has too much of {error}; both sides need one version"
        ) from error


def spec_from_json(text: str) -> DeviceSpec:
    """The inverse of `spec_to_json`."""
    return spec_from_data(json.loads(text))
