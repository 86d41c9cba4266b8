"""SHA-256 over what a topology resolves to: equal digests give equal times.

Texts for people (descriptions, sources, how a quantity was written, which override gave it) are left out; every number
is in, as the shortest decimal that is the same float.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from hashlib import sha256
from typing import Any

from controller.topology.schema import Abilities, Device, Link
from node.hardware.device import Constant, DeviceSpec

TEXT_FIELDS = ("description", "text", "source")


def digest_of(
    devices: Mapping[str, Device],
    switches: Sequence[str],
    links: Sequence[Link],
    options: Mapping[str, str],
    abilities: Mapping[str, Abilities] | None = None,
) -> str:
    """The digest, hex. The order of declaration counts: it breaks ties between devices."""
    specs: dict[int, str] = {}

    def spec_digest(spec: DeviceSpec) -> str:
        # Replicas share one spec object, so a thousand drives cost one serialisation.
        if id(spec) not in specs:
            specs[id(spec)] = sha256(_json(_content(spec))).hexdigest()
        return specs[id(spec)]

    whole = {
        "devices": [
            [each.name, each.group, each.index, each.host, spec_digest(each.spec)]
            for each in devices.values()
        ],
        "switches": list(switches),
        "links": [
            [link.name, str(link.a), str(link.b), float(link.forward_bytes_per_s), float(link.backward_bytes_per_s),
             float(link.latency_s), *(["shared"] if link.shared else []),
             *([link.dimension] if link.dimension >= 0 else []),
             *(["per_flow"] if link.per_flow else []), *([hop.resource for hop in link.passes])]
            for link in links
        ],
        "options": dict(options),
    }  # fmt: skip
    if abilities:
        whole["abilities"] = [
            [name, list(each.types), each.multicast, float(each.rate_bytes_per_s)] for name, each in abilities.items()
        ]
    return sha256(_json(whole)).hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _content(value: Any) -> Any:
    if isinstance(value, Constant):
        return float(value.value)
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _content(getattr(value, field.name)) for field in fields(value) if field.name not in TEXT_FIELDS
        }
    if isinstance(value, Mapping):
        # As a list: the order of tiers and queues means something (the first compute queue takes the kernels).
        return [[str(key), _content(item)] for key, item in value.items()]
    return value
