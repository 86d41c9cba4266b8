"""Every host linked to every other directly."""

from __future__ import annotations

from controller.topology.declaration import Wire
from controller.topology.generate.blocks import FabricBlock
from controller.topology.generate.host import Count
from controller.topology.generate.weaver import Weaver


class Mesh(FabricBlock):
    """``kind: mesh``; one end leaves each host."""

    hosts: Count
    link: Wire

    @property
    def host_count(self) -> int:
        """As declared."""
        return self.hosts

    def weave(self, weaver: Weaver) -> None:
        """A link for every pair of hosts."""
        ends = weaver.uplinks()
        if len(ends[0]) != 1:
            raise weaver.wrong(
                "host.uplinks",
                f"{len(ends[0])} ends leave a host of a full mesh; name one, a device's port or a switch",
            )
        links = weaver.links("mesh", self.link, "link")
        for index, (end,) in enumerate(ends):
            for (other,) in ends[index + 1 :]:
                links.join(end, other)
