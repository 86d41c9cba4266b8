"""Rail-optimised: uplink i of every host of a pod goes to leaf i of that pod, and spines join all leaves.

Source: NVIDIA's DGX SuperPOD reference architecture (compute fabric: a leaf a GPU index and scalable unit). Without
spines (`spines: 0`) the rails meet nowhere but inside of the hosts.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictInt

from controller.topology.declaration import MAX_COUNT
from controller.topology.generate.blocks import UplinkedBlock
from controller.topology.generate.host import Count
from controller.topology.generate.leaf_spine import uplink_cable
from controller.topology.generate.weaver import Weaver


class Rail(UplinkedBlock):
    """``kind: rail``."""

    pods: Count = 1
    hosts_per_pod: Count
    spines: Annotated[StrictInt, Field(ge=0, le=MAX_COUNT)]

    @property
    def host_count(self) -> int:
        """Pods times hosts in each."""
        return self.pods * self.hosts_per_pod

    def weave(self, weaver: Weaver) -> None:
        """Rail r of pod p is the switch ``rail<r>_p<p>``."""
        ends = weaver.uplinks()
        rails = [
            [weaver.switch(f"rail{rail}_p{pod}") for rail in range(len(ends[0]))] for pod in range(self.pods)
        ]  # fmt: skip
        spines = weaver.switches("spine", self.spines)
        down = weaver.links(f"{weaver.uplink_text()}-rail", self.link, "link")
        for host, uplinks in enumerate(ends):
            for rail, end in enumerate(uplinks):
                down.join(end, rails[host // self.hosts_per_pod][rail])
        if not spines:
            if self.pods > 1:
                raise weaver.wrong("spines", f"nothing joins {self.pods} pods without spines; give at least 1")
            return
        cable = uplink_cable(
            weaver, self.link, self.uplink, self.oversubscription, self.hosts_per_pod, self.spines
        )  # fmt: skip
        up = weaver.links("rail-spine", cable, "link")
        for pod in rails:
            for leaf in pod:
                for spine in spines:
                    up.join(leaf, spine)
