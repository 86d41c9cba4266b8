"""Three levels: hosts below edge switches, edge and aggregation switches in pods, core switches between pods.

Source: Al-Fares, Loukissas and Vahdat, SIGCOMM 2008; its k-ary tree has k pods of k/2 edge and k/2 aggregation
switches, k/2 hosts below an edge switch, and k^2/4 cores. Here each count is free. Aggregation switch i of every pod is
linked to the i-th share of the cores.
"""

from __future__ import annotations

from controller.topology.declaration import Wire
from controller.topology.generate.blocks import FabricBlock
from controller.topology.generate.host import Count, Ratio
from controller.topology.generate.leaf_spine import uplink_cable
from controller.topology.generate.weaver import Weaver


class FatTree(FabricBlock):
    """``kind: fat_tree``."""

    pods: Count
    edges_per_pod: Count
    aggregations_per_pod: Count
    cores: Count
    hosts_per_edge: Count
    link: Wire
    oversubscription: Ratio | None = None

    @property
    def host_count(self) -> int:
        """Hosts below an edge switch, times edge switches, times pods."""
        return self.pods * self.edges_per_pod * self.hosts_per_edge

    def weave(self, weaver: Weaver) -> None:
        """Pod by pod; `oversubscription` is that of the edge switches, and nothing is lost above them."""
        if self.cores % self.aggregations_per_pod:
            raise weaver.wrong(
                "cores",
                f"{self.cores} cores cannot be shared out evenly among {self.aggregations_per_pod} aggregation "
                f"switches of a pod; give a multiple of {self.aggregations_per_pod}",
            )
        share = self.cores // self.aggregations_per_pod
        ends = weaver.uplinks()
        down = weaver.links(f"{weaver.uplink_text()}-edge", self.link, "link")
        below = self.hosts_per_edge * len(ends[0])
        cable = uplink_cable(weaver, self.link, None, self.oversubscription, below, self.aggregations_per_pod)
        middle = weaver.links("edge-aggregation", cable, "link")
        if self.oversubscription is not None:
            why = f"{self.edges_per_pod} of these over {share} links to cores"
            cable = cable.scaled(self.edges_per_pod / share, why)
        top = weaver.links("aggregation-core", cable, "link")
        cores = weaver.switches("core", self.cores)
        for pod in range(self.pods):
            edges = [weaver.switch(f"edge{index}_p{pod}") for index in range(self.edges_per_pod)]
            spread = [weaver.switch(f"aggregation{index}_p{pod}") for index in range(self.aggregations_per_pod)]
            for index, edge in enumerate(edges):
                first = (pod * self.edges_per_pod + index) * self.hosts_per_edge
                for uplinks in ends[first : first + self.hosts_per_edge]:
                    for end in uplinks:
                        down.join(end, edge)
                for aggregation in spread:
                    middle.join(edge, aggregation)
            for index, aggregation in enumerate(spread):
                for core in cores[index * share : (index + 1) * share]:
                    top.join(aggregation, core)
