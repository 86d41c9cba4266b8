"""What the ``fabric:`` block of every kind has in common: a host that is repeated, and cables."""

from __future__ import annotations

from abc import abstractmethod

from pydantic import StrictStr
from pydantic_core import PydanticCustomError

from controller.topology.declaration import Entry, Wire
from controller.topology.generate.host import HostBlock
from controller.topology.generate.weaver import Weaver


class FabricBlock(Entry):
    """A whole ``fabric:`` block; each kind adds its own counts and cables."""

    kind: StrictStr
    host: HostBlock

    @property
    @abstractmethod
    def host_count(self) -> int:
        """How often the host is repeated."""

    @abstractmethod
    def weave(self, weaver: Weaver) -> None:
        """Adds hosts, switches and links."""


def oversubscribed(oversubscription: float | None, uplink: Wire | None) -> None:
    """Refuses to be told the width of the uplinks twice; called from validators.

    Raises:
        PydanticCustomError: both are given with a bandwidth.
    """
    if oversubscription is not None and uplink is not None:
        raise PydanticCustomError(
            "fabric", "give oversubscription, which sets what the uplinks carry, or uplink with its own bandwidth"
        )
