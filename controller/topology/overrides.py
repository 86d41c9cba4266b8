"""``--set`` texts: what they address and what they give.

========================================  ==============================================
``csd.count=20``                          how many devices a group has
``gpu.product=rtx_3090``                  another sheet for a group
``csd.flash.read=11.2 GB/s``              a constant of every device of a group
``csd1.flash.read=5 GB/s``                of one device
``link.csd0.pcie-root.bandwidth=3 GB/s``  of one link (also forward, backward, latency)
``link.csd.pcie-root.latency=2 us``       of every copy of a link that is declared once
``link.csd.pcie-root.failed=true``        nothing passes it; capacity=0.5 leaves it half of what it had
``fabric.spines=4``                       a number of the file's ``fabric:`` block
``options.key=text``                      an option of the file
``prices.h100_sxm=9 USD/h``               what one device of a product costs an hour
========================================  ==============================================

Counts and products are applied first, then constants in the order given; the same thing set twice is an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controller.errors import BadOverride
from controller.topology.declaration import MAX_COUNT

NO_DEVICE = ("link", "fabric", "options", "prices")
"""Targets that are neither a group nor a device."""

EXAMPLE = "write for example csd.count=2 or csd.flash.read='11.2 GB/s'"


@dataclass(frozen=True, slots=True)
class Override:
    """One ``--set`` text.

    Attributes:
        text: as given, for errors and provenance.
        target: a group, a device, or a word of `NO_DEVICE`.
        path: what of the target.
        value: what it becomes.
    """

    text: str
    target: str
    path: str
    value: str

    @property
    def structural(self) -> bool:
        """Whether it decides which devices there are, and so comes before every constant."""
        return self.path in ("count", "product") and self.target not in NO_DEVICE

    def wrong(self, why: str) -> BadOverride:
        """The error that names this text."""
        return BadOverride(f"--set {self.text!r}: {why}")

    def count(self) -> int:
        """The number of devices.

        Raises:
            BadOverride: not a whole number from 1 to `MAX_COUNT`.
        """
        digits = self.value.isascii() and self.value.isdigit() and len(self.value) <= 9
        if not digits or not 1 <= int(self.value) <= MAX_COUNT:
            raise self.wrong(f"a count is a whole number from 1 to {MAX_COUNT}, not {self.value!r}")
        return int(self.value)


def parse_overrides(texts: Iterable[str]) -> tuple[Override, ...]:
    """Splits every text at its first ``=``.

    Raises:
        BadOverride: no ``=``, nothing on one side of it, no dot, or the same thing set twice.
    """
    found: dict[str, Override] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        target, _, path = key.partition(".")
        if not (equals and target and path and value):
            raise BadOverride(f"--set {text!r}: this is not <device>.<constant>=<value>; {EXAMPLE}")
        if key in found:
            raise BadOverride(f"--set {text!r}: {key} is set already, by {found[key].text!r}; keep one of the two")
        found[key] = Override(text, target, path, value)
    return tuple(found.values())
