"""Two levels of switches: hosts below leaves, every leaf linked to every spine.

Two hosts below different leaves have as many equal routes as there are spines. The uplinks are made of the same cable
as the links of the hosts, or of `uplink`, or carry together what all hosts of a leaf send over `oversubscription`.
"""

from __future__ import annotations

from controller.topology.cables import Cable
from controller.topology.declaration import Wire
from controller.topology.generate.blocks import UplinkedBlock
from controller.topology.generate.host import Count
from controller.topology.generate.weaver import Weaver


class LeafSpine(UplinkedBlock):
    """``kind: leaf_spine``."""

    leaves: Count
    hosts_per_leaf: Count
    spines: Count

    @property
    def host_count(self) -> int:
        """Leaves times hosts below each."""
        return self.leaves * self.hosts_per_leaf

    def weave(self, weaver: Weaver) -> None:
        """Hosts to leaves in order, every leaf to every spine."""
        leaves, spines = weaver.switches("leaf", self.leaves), weaver.switches("spine", self.spines)
        ends = weaver.uplinks()
        down = weaver.links(f"{weaver.uplink_text()}-leaf", self.link, "link")
        for host, uplinks in enumerate(ends):
            for end in uplinks:
                down.join(end, leaves[host // self.hosts_per_leaf])
        below = self.hosts_per_leaf * len(ends[0])
        cable = uplink_cable(weaver, self.link, self.uplink, self.oversubscription, below, self.spines)
        up = weaver.links("leaf-spine", cable, "link")
        for leaf in leaves:
            for spine in spines:
                up.join(leaf, spine)


def uplink_cable(
    weaver: Weaver, link: Wire, uplink: Wire | None, oversubscription: float | None, below: int, above: int
) -> Cable:
    """What a switch is linked upwards with.

    Args:
        weaver: knows where the cables are declared.
        link: of the hosts.
        uplink: as declared, or None.
        oversubscription: what the links below carry over what those above do, or None.
        below, above: links of the switch downwards and upwards.
    """
    if uplink is not None:
        return weaver.cable(uplink, "uplink")
    cable = weaver.cable(link, "link")
    if oversubscription is None:
        return cable
    why = f"{below} of these over {above} uplinks, {oversubscription:g}:1 oversubscribed"
    return cable.scaled(below / (above * oversubscription), why)
