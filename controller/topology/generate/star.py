"""Hosts around switches that join them all: NVL72, the planes of a supernode, homes around a core router.

Each network is one switch, or `switches` equal ones that each end of a host is linked to, so that as many routes of
equal length join two hosts.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictStr

from controller.topology.declaration import Wire
from controller.topology.generate.blocks import FabricBlock
from controller.topology.generate.host import Count
from controller.topology.generate.weaver import Weaver
from controller.topology.schema import Endpoint


class Network(Wire):
    """One network: which ends of a host it joins, by which cable, over how many switches."""

    ends: Annotated[list[StrictStr], Field(min_length=1)]
    switches: Count = 1


class Star(FabricBlock):
    """``kind: star``."""

    hosts: Count
    networks: Annotated[dict[StrictStr, Network], Field(min_length=1)]

    @property
    def host_count(self) -> int:
        """As declared."""
        return self.hosts

    def weave(self, weaver: Weaver) -> None:
        """Every named end of every host to every switch of its network."""
        for name, network in self.networks.items():
            key = f"networks.{name}"
            middle: tuple[Endpoint, ...] = (
                (weaver.switch(name),) if network.switches == 1 else weaver.switches(name, network.switches)
            )
            links = weaver.links(f"{weaver.uplink_text(network.ends)}-{name}", network, key)
            for ends in weaver.uplinks(network.ends, f"{key}.ends"):
                for end in ends:
                    for switch in middle:
                        links.join(end, switch)
