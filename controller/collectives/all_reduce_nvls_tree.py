"""all_reduce in the switches of every host, with a tree between the hosts, as NCCL's NVLSTree has it.

Paper: NVIDIA NCCL, src/device/all_reduce.h (NVLS_TREE) and src/graph/connect.cc.
Follows: in each host every rank reads the sum of its chunk out of the switch; ranks of one index in their hosts add
    their sums up a binary tree and bring the total down; every rank then stores it to its host.
Differs: no staging copies, and one tree instead of two.
Checked by: tests/unit/controller/collectives/test_nvls_tree.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.call import Call, part
from controller.collectives.in_switch import Stages, need_switch
from controller.collectives.rings import copy_own
from controller.collectives.trees import inorder_tree
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan, View
from controller.plan.ranges import even_ranges


def nvls_tree(call: Call) -> Plan:
    """Hosts as the group has them; each must have as many ranks as the others.

    Raises:
        BadCall: hosts with different numbers of ranks, or with a switch that cannot add up and multiply.
    """
    hosts = call.group.equal_hosts("nvls_tree")
    local = len(hosts[0])
    if local > 1:
        need_switch(call, "nvls_tree", adds=True, copies=True, inside=True)
    build = PlanBuilder(f"all_reduce nvls_tree {call.count} {call.dtype}")
    if call.world_size == 1:
        copy_own(build, call.input(0), call.output(0))
        return build.plan()
    stages = Stages(build)
    for piece in range(call.pieces):
        chunks = [
            even_ranges(stop - start, call.pieces, start)[piece] for start, stop in even_ranges(call.count, local)
        ]
        for index, (start, stop) in enumerate(chunks):
            if start == stop:
                continue
            sums = [_host_sum(call, stages, host, index, start, stop) for host in hosts]
            peers = [host[index] for host in hosts]
            _between(build, call, peers, sums, start, stop)
            for host in hosts:
                if local > 1:
                    targets = [part(call.output(rank), start, stop) for rank in host]
                    stages.push_all(host[index], targets[index], targets)
    return build.plan()


def _host_sum(call: Call, stages: Stages, host: tuple[int, ...], index: int, start: int, stop: int) -> View:
    """The sum of a host, at the rank that owns the chunk."""
    if len(host) == 1:
        return part(call.input(host[0]), start, stop)
    target = part(call.output(host[index]), start, stop)
    stages.pull_sum(host[index], [part(call.input(rank), start, stop) for rank in host], target)
    return target


def _between(build: PlanBuilder, call: Call, peers: list[int], sums: list[View], start: int, stop: int) -> None:
    """Adds what the hosts have up a binary tree over them, and brings the total down to the output of each."""
    outputs = [part(call.output(rank), start, stop) for rank in peers]
    if len(peers) == 1:
        if sums[0] != outputs[0]:
            build.transfer(sums[0], outputs[0], label="copy")
        return
    tree = inorder_tree(len(peers))
    for place in reversed(tree.order):
        children = tree.children(place)
        if not children:
            continue
        arrived = [part(call.scratch(peers[place], f"scratch{slot}"), start, stop) for slot in range(len(children))]
        for child, room in zip(children, arrived, strict=True):
            build.transfer(sums[child], room, label="reduce: send")
        total = outputs[place]
        build.kernel("reduce", total.buffer.device, [sums[place], *arrived], [total], kind="sum")
        sums[place] = total
    for place in tree.order[1:]:
        build.transfer(outputs[tree.parents[place]], outputs[place], label="broadcast: send")
