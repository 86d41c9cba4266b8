"""The host that a ``fabric:`` block repeats, and how large a fabric may be."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictFloat, StrictInt, StrictStr

from controller.topology.declaration import MAX_COUNT, HostEntry

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
