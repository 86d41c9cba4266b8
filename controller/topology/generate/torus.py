"""A torus of any number of dimensions: a router a host, linked to the next one in every dimension, ends joined.

A dimension of size 2 has one link, not two. Where one switch of the host leaves it (a chip's own router), that switch
is the router; otherwise there is a switch ``router<i>`` and `host_link` joins the host to it. Routes take the first
dimension first (Dally and Seitz, IEEE Trans. Computers 1987), as the routers of tori do.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, StrictBool

from controller.topology.declaration import Wire
from controller.topology.generate.blocks import FabricBlock
from controller.topology.generate.host import Count
from controller.topology.generate.weaver import Weaver


class Torus(FabricBlock):
    """``kind: torus``; ``dimensions: [4, 4, 4]`` has 64 hosts, the last index running fastest.

    Routes take the first dimension first, or the last where `last_first` says so.
    """

    dimensions: Annotated[list[Count], Field(min_length=1, max_length=6)]
    last_first: StrictBool = False
    link: Wire
    host_link: Wire | None = None

    @property
    def host_count(self) -> int:
        """The product of the dimensions."""
        return math.prod(self.dimensions)

    def weave(self, weaver: Weaver) -> None:
        """Every router to the next one in every dimension."""
        ends = weaver.uplinks()
        if self.host_link is None:
            if len(ends[0]) != 1 or ends[0][0].port:
                raise weaver.wrong(
                    "host.uplinks",
                    "a torus needs host_link, the cable from a host to its router, unless one switch of the host, "
                    "named alone in host.uplinks, is the router",
                )
            routers = [end for (end,) in ends]
        else:
            routers = list(weaver.switches("router", self.host_count))
            down = weaver.links(f"{weaver.uplink_text()}-router", self.host_link, "host_link")
            for router, uplinks in zip(routers, ends, strict=True):
                for end in uplinks:
                    down.join(end, router)
        stride = self.host_count
        for dimension, size in enumerate(self.dimensions):
            turn = len(self.dimensions) - 1 - dimension if self.last_first else dimension
            links = weaver.links("torus", self.link, "link", turn)
            stride //= size
            for index, router in enumerate(routers):
                at = index // stride % size
                if size == 1 or (size == 2 and at == 1):
                    continue
                links.join(router, routers[index + ((at + 1) % size - at) * stride])
