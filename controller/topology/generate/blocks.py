"""What the ``fabric:`` block of every kind has in common: a host that is repeated, and cables."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StrictFloat, StrictInt, StrictStr
from pydantic_core import PydanticCustomError

from controller.topology.declaration import MAX_COUNT, Entry, HostEntry, Wire

if TYPE_CHECKING:
    from controller.topology.generate.weaver import Weaver

Count = Annotated[StrictInt, Field(ge=1, le=MAX_COUNT)]
Ratio = Annotated[StrictFloat | StrictInt, Field(gt=0, le=1024)]

MAX_VERTICES = 262_144
"""Most devices and switches of one fabric; beyond it a typing error is likelier than a cluster."""

MAX_LINKS = 1_048_576
"""Most links of one fabric, for the same reason."""


class HostBlock(HostEntry):
    """One chassis that is repeated; `uplinks` are the ends that leave it, each ``device.port`` or a switch."""

    uplinks: list[StrictStr] = Field(default_factory=list)

    @property
    def vertex_count(self) -> int:
        """Devices and switches of one host."""
        return sum(device.count or 1 for device in self.devices.values()) + len(self.switches)


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
