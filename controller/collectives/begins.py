"""What a library's call pays beside hops and bytes: its start, the first pass of a ring, the host that submits sends.

Model: a call begins `base_s` after it was made. One of sends and receives (all_to_all) begins after `sends_s`, and its
host submits two of them for each rank, one after the other, `issue_s` each: while calls follow one another it is the
later of host and device that ends one. A ring, tree or chain brings its data past `world_size - 1` ranks before the
last has them; once they are spread over more than one channel, each of these hops takes at least `fill_s` beyond its
latency, the time of blocks that all poll their flags. What the bytes take anyway counts towards it.
Source: NCCL, src/enqueue.cc: a channel is added for every 16 KiB of traffic (`MinTrafficPerChannel`), tasks of a group
are scheduled one by one by the thread that ends the group. The values are in the topologies, each with its own.
Valid for: one host, calls that follow one another as in nccl-tests.
Not modelled: skew between the hosts' threads, how many channels each send takes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from controller.collectives.call import Call
from controller.collectives.protocol import Protocol
from controller.plan.ops import Kernel, Plan, vouched

ONE_CHANNEL_BYTES: Final = 16_384
"""Most that NCCL leaves to one channel [bytes]."""
HOST: Final = "issue"
"""Queue of a device that its host works through."""
_SENT: Final = {"all_reduce": 2.0}
"""How often a collective passes its data round, where not once."""


def beginning(call: Call, protocol: Protocol) -> Protocol:
    """`protocol` with the start that this call has."""
    if call.collective == "all_to_all":
        return protocol if protocol.sends_s is None else replace(protocol, base_s=protocol.sends_s)
    nbytes, others = call.count * call.item_bytes, call.world_size - 1
    if not protocol.fill_s or not protocol.rate_bytes_per_s or nbytes <= ONE_CHANNEL_BYTES:
        return protocol
    sent = _SENT.get(call.collective, 1.0) * nbytes * others / call.world_size
    return replace(
        protocol, base_s=protocol.base_s + max(0.0, others * protocol.fill_s - sent / protocol.rate_bytes_per_s)
    )


def submitted_s(call: Call, protocol: Protocol) -> float:
    """How long the host of a rank submits the sends and receives of a call [s]."""
    if call.collective != "all_to_all" or call.world_size == 1:
        return 0.0
    return 2.0 * call.world_size * protocol.issue_s


def with_host(plan: Plan, call: Call, protocol: Protocol) -> Plan:
    """`plan` beside the host of each rank, which is at it as long as it takes to submit the call."""
    seconds = submitted_s(call, protocol)
    if not seconds or not plan.ops:
        return plan
    hosts = [Kernel("delay", name, (), (), {"seconds": seconds}, HOST, "submit") for name in call.group.devices]
    # The delays touch no buffer and every old edge is kept.
    made = Plan(plan.name, (*plan.ops, *hosts), (*plan.after, *((),) * len(hosts)), plan.parameters)
    return vouched(made, plan.origin)
