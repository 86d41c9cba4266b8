"""Groups of routers that are all linked to each other, and groups that are linked by long cables.

Source: Kim, Dally, Scott and Abts, ISCA 2008: p hosts, a routers a group, h global links a router; with g = a h + 1
groups every pair of groups has one global link. Here a h is any multiple of g - 1, and the j-th global link of a group
goes to the j-th group after it (the arrangement that Camarero, Vallejo and Beivide, TACO 2014, call consecutive).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictInt

from controller.topology.declaration import MAX_COUNT, Wire
from controller.topology.generate.blocks import FabricBlock
from controller.topology.generate.host import Count
from controller.topology.generate.weaver import Weaver


class Dragonfly(FabricBlock):
    """``kind: dragonfly``."""

    groups: Annotated[StrictInt, Field(ge=2, le=MAX_COUNT)]
    routers_per_group: Count
    hosts_per_router: Count
    global_links_per_router: Count
    link: Wire
    local_link: Wire
    global_link: Wire

    @property
    def host_count(self) -> int:
        """Hosts of a router, times routers, times groups."""
        return self.groups * self.routers_per_group * self.hosts_per_router

    def weave(self, weaver: Weaver) -> None:
        """Router r of group g is the switch ``router<r>_g<g>``."""
        others = self.groups - 1
        per_group = self.routers_per_group * self.global_links_per_router
        if per_group % others:
            raise weaver.wrong(
                "global_links_per_router",
                f"a group has {self.routers_per_group} x {self.global_links_per_router} global links, which cannot be "
                f"shared out evenly among {others} other groups; give a multiple of {others}",
            )
        down = weaver.links(f"{weaver.uplink_text()}-router", self.link, "link")
        local = weaver.links("router-router", self.local_link, "local_link")
        long = weaver.links("group-group", self.global_link, "global_link")
        routers = [
            [weaver.switch(f"router{router}_g{group}") for router in range(self.routers_per_group)]
            for group in range(self.groups)
        ]
        every = [router for group in routers for router in group]
        for host, ends in enumerate(weaver.uplinks()):
            for end in ends:
                down.join(end, every[host // self.hosts_per_router])
        for members in routers:
            for index, router in enumerate(members):
                for other in members[index + 1 :]:
                    local.join(router, other)
        parallel = per_group // others
        for round_index in range(parallel):
            for group in range(self.groups):
                for further in range(group + 1, self.groups):
                    a = round_index * others + further - group - 1
                    b = round_index * others + self.groups - 1 - (further - group)
                    ends = (
                        routers[group][a // self.global_links_per_router],
                        routers[further][b // self.global_links_per_router],
                    )
                    name = "" if parallel == 1 else f"-{round_index}"
                    long.add(f"{ends[0]}-{ends[1]}{name}", *ends)
