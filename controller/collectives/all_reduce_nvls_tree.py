"""all_reduce in the switches of every host, with a tree between the hosts, as NCCL's NVLSTree has it.

Paper: NVIDIA NCCL, src/device/all_reduce.h (NVLS_TREE) and src/graph/connect.cc.
Follows: in each host every rank reads the sum of its chunk out of the switch; ranks of one index in their hosts add
    their sums up a binary tree and bring the total down; every rank then stores it to its host.
Differs: no staging copies, and one tree instead of two.
Checked by: tests/unit/controller/collectives/test_nvls_tree.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.collectives.in_switch import Stages, need_switch
from controller.collectives.trees import inorder_tree
from controller.plan.ops import View
from controller.plan.ranges import even_ranges


def nvls_tree(exchange: Exchange) -> None:
    """Hosts as the group has them; each must have as many ranks as the others.

    Raises:
        BadCall: hosts with different numbers of ranks, or with a switch that cannot add up and multiply.
    """
    hosts = exchange.group.equal_hosts("nvls_tree")
    local = len(hosts[0])
    if local > 1:
        need_switch(exchange, "nvls_tree", adds=True, copies=True, inside=True)
    if exchange.world_size == 1:
        exchange.copy_own(exchange.inputs[0], exchange.outputs[0])
        return
    stages = Stages(exchange)
    for piece in range(exchange.pieces):
        of_index = even_ranges(exchange.count, local)
        chunks = [even_ranges(stop - start, exchange.pieces, start)[piece] for start, stop in of_index]
        for index, (start, stop) in enumerate(chunks):
            if start == stop:
                continue
            sums = [_host_sum(exchange, stages, host, index, start, stop) for host in hosts]
            peers = [host[index] for host in hosts]
            _between(exchange, peers, sums, start, stop)
            for host in hosts:
                if local > 1:
                    targets = [part(exchange.outputs[rank], start, stop) for rank in host]
                    stages.push_all(host[index], targets[index], targets)


def _host_sum(exchange: Exchange, stages: Stages, host: tuple[int, ...], index: int, start: int, stop: int) -> View:
    """The sum of a host, at the rank that owns the chunk."""
    if len(host) == 1:
        return part(exchange.inputs[host[0]], start, stop)
    target = part(exchange.outputs[host[index]], start, stop)
    stages.pull_sum(host[index], [part(exchange.inputs[rank], start, stop) for rank in host], target)
    return target


def _between(exchange: Exchange, peers: list[int], sums: list[View], start: int, stop: int) -> None:
    """Adds what the hosts have up a binary tree over them, and brings the total down to the output of each."""
    outputs = [part(exchange.outputs[rank], start, stop) for rank in peers]
    if len(peers) == 1:
        if sums[0] != outputs[0]:
            exchange.copy(sums[0], outputs[0])
        return
    tree = inorder_tree(len(peers))
    for place in reversed(tree.order):
        children = tree.children(place)
        if not children:
            continue
        arrived = [part(exchange.scratch(peers[place], f"scratch{slot}"), start, stop) for slot in range(len(children))]
        for child, room in zip(children, arrived, strict=True):
            exchange.send(sums[child], room, "reduce: send")
        total = outputs[place]
        exchange.add(peers[place], [sums[place], *arrived], total)
        sums[place] = total
    for place in tree.order[1:]:
        exchange.send(outputs[tree.parents[place]], outputs[place], "broadcast: send")
