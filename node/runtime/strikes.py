"""Faults on purpose: tiers and ports that are slower than declared, links that carry nothing, and bytes that change.

What is slower is so in device time, and with pacing in wall time, for this device alone: without pacing others count
its tiers and ports as declared. A push over a dropped link fails at once. Of a changed push exactly one bit differs, at
every destination alike: which pushes and which bit follows from the seed and from how many pushes came before.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

from node.errors import BadAttribute, LinkDropped
from node.memory.resources import DeviceResources
from node.wire.checks import checked_number
from node.wire.commands import Push

PARTS = ("device", "tier", "link")
LEAST = 1e-6
"""The least share: with less a push would seem to stand still for good."""


@dataclass(frozen=True, slots=True)
class Impairment:
    """What is wrong.

    Attributes:
        throttled: shares of the capacity that are left for reads and writes, by tier or port.
        dropped: links that carry nothing.
        corrupt: share of the pushes that are changed, by kind and name of what they pass.
        seed: of which ones.
    """

    throttled: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    corrupt: Mapping[tuple[str, str], float] = field(default_factory=dict)
    seed: int = 0


class Strikes:
    """What is wrong with one device at present.

    Attributes:
        now: what is wrong.
        corrupted: pushes that were changed so far.

    Args:
        device: its name.
        resources: its tiers and ports.
    """

    def __init__(self, device: str, resources: DeviceResources) -> None:
        self._device, self._resources = device, resources
        self.now = Impairment()
        self.corrupted = 0
        self._pushes = 0
        self._lock = Lock()

    def set(self, strike: Impairment) -> None:
        """Makes `strike` all that is wrong.

        Raises:
            BadAttribute: no such tier or port, or a share that is none.
        """
        for part, ratios in strike.throttled.items():
            for ratio in ratios:
                checked_number(f"share of {part} that is left", ratio, "", 1.0, LEAST)
        for (kind, name), share in strike.corrupt.items():
            checked_number(f"share of pushes over {name} that change", share, "", 1.0, LEAST)
            if kind not in PARTS:
                raise BadAttribute(f"a {kind!r} cannot change bytes; name one of {', '.join(PARTS)}")
        self._resources.throttle(strike.throttled)
        self.now = strike

    def check(self, push: Push) -> None:
        """Refuses a push over a link that carries nothing.

        Raises:
            LinkDropped: names it.
        """
        for link in push.links:
            if link[:-1] in self.now.dropped:
                raise LinkDropped(f"link {link[:-1]} carries nothing: {self._device} cannot push over it", link[:-1])

    def passed(self, push: Push, tier: str, data: memoryview) -> memoryview:
        """What arrives of a push from a tier: its bytes, or a copy of them with one bit changed."""
        share = self._share(push, tier) if self.now.corrupt else 0.0
        if not share or not len(data):
            return data
        with self._lock:
            self._pushes += 1
            draw = zlib.crc32(f"{self.now.seed} {self._device} {self._pushes}".encode())
            if draw >= share * 2**32:
                return data
            self.corrupted += 1
        changed = bytearray(data)
        bit = zlib.crc32(draw.to_bytes(4, "little")) % (8 * len(changed))
        changed[bit // 8] ^= 1 << bit % 8
        return memoryview(changed)

    def _share(self, push: Push, tier: str) -> float:
        passes = [("device", self._device), ("tier", f"{self._device}.{tier}")]
        passes += [("device", device) for device, _ in push.destinations if device != self._device]
        passes += [("link", link[:-1]) for link in push.links]
        return max((self.now.corrupt.get(each, 0.0) for each in passes), default=0.0)
