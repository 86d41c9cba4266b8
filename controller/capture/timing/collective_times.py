"""How long a collective takes alone on the declared fabric, and what of a rank it keeps busy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from controller.capture.lowering.bytes_of import item_bytes
from controller.collectives.bulk.timing import in_bulk, refusal
from controller.collectives.call import DTYPES, Call
from controller.collectives.choose.algorithm import choose
from controller.collectives.choose.bulk import BulkChooser
from controller.collectives.errors import BadCall
from controller.collectives.group import Group, group_of
from controller.collectives.protocol import Protocol, protocols_of
from controller.fabric.loads import Fabric
from controller.topology.schema import Topology

MOST_HOSTS = 3
"""Hosts up to which rings are executed as they are."""
FEW_HOSTS = (2, 3)
"""Hosts over which rings are executed where there are more."""
BULK_ABOVE = 8
"""Ranks above which calls are timed in bulk."""
LIBRARY: Mapping[str, tuple[str, ...]] = {
    "all_gather": ("ring", "rings"),
    "reduce_scatter": ("ring", "rings"),
    "all_reduce": ("ring", "rings", "double_binary_tree", "nvls", "nvls_tree"),
    "all_to_all": ("direct",),
    "broadcast": ("chain",),
    "barrier": ("dissemination",),
}
"""Algorithms that NCCL has for each collective (NCCL, src/graph/tuning.cc)."""
AS_IF: Mapping[str, str] = {"reduce": "broadcast", "gather": "all_gather", "scatter": "broadcast"}
"""Collectives that the table lacks, and whose traffic on the busiest rank is taken instead."""
PASSES: Mapping[str, float] = {"all_reduce": 2.0}


@dataclass(frozen=True, slots=True)
class CollectiveCost:
    """One call alone.

    Attributes:
        time_s: from the arrival of the last rank to its end [s].
        sms: multiprocessors that its kernel keeps.
        moved_bytes: that it reads and writes in the memory of a rank [bytes].
        sent_bytes: that a rank sends [bytes].
        hosts: that the group spans.
        algorithm: which one, with its protocol.
        world_size: ranks of the group.
        dtype: of its elements.
        elements_in, elements_out: that a rank gives and gets.
    """

    time_s: float
    sms: int
    moved_bytes: float
    sent_bytes: float
    hosts: int
    algorithm: str
    world_size: int = 2
    dtype: str = "uint8"
    elements_in: int = 0
    elements_out: int = 0


class CollectiveTimes:
    """Times of collectives on one topology, each found once."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._protocols = protocols_of(topology)
        self._fabric = Fabric(topology)
        self._groups: dict[tuple[str, ...], Group] = {}
        self._choosers: dict[tuple[str, ...], BulkChooser] = {}
        self._known: dict[tuple[str, tuple[str, ...], str, int], CollectiveCost] = {}

    def of(self, kind: str, devices: tuple[str, ...], dtype: str, nbytes: int) -> CollectiveCost:
        """The cost of a call.

        Args:
            kind: of the collective.
            devices: by rank in the group.
            dtype: of its elements.
            nbytes: of the longer of what a rank gives and gets [bytes].
        """
        key = (kind, devices, dtype, nbytes)
        if key not in self._known:
            self._known[key] = self._time(AS_IF.get(kind, kind), devices, dtype, nbytes)
        return self._known[key]

    def message(self, source: str, destination: str, nbytes: int) -> CollectiveCost:
        """The cost of a message between two devices."""
        key = ("message", (source, destination), "", nbytes)
        if key not in self._known:
            places = [next(iter(self._topology.devices[name].spec.tiers)) for name in (source, destination)]
            load = self._fabric.transfer_load(source, places[0], destination, places[1])
            taken = load.weights > 0
            rate = float((self._fabric.capacity[load.resources[taken]] / load.weights[taken]).min())
            base_s, sms = 0.0, 0
            for protocol in self._protocols:
                if not protocol.algorithms:
                    rate = min(rate, protocol.rate_bytes_per_s or rate)
                    base_s, sms = protocol.base_s, protocol.sms
            hosts = len({self._topology.devices[name].host for name in (source, destination)})
            cost = CollectiveCost(load.latency_s + base_s + nbytes / rate, sms, nbytes, nbytes, hosts, "message")
            self._known[key] = cost
        return self._known[key]

    def _time(self, kind: str, devices: tuple[str, ...], dtype: str, nbytes: int) -> CollectiveCost:
        group = self._group(devices)
        ranks, hosts = group.world_size, len(group.by_host())
        if ranks == 1:
            return CollectiveCost(0.0, 0, 2.0 * nbytes, 0.0, 1, "copy", 1)
        size = item_bytes(dtype)
        known = dtype if dtype in DTYPES else {1: "int8", 2: "bf16", 4: "fp32", 8: "int64"}.get(size, "int8")
        count = max(1, nbytes // size) if kind != "barrier" else 1
        call = Call(kind, group, count, known)
        names = self._names(kind, group)
        found = [self._rings(call)] if "rings" in names and hosts > MOST_HOSTS else []
        others = tuple(name for name in names if name != "rings") if found else names
        if others:
            found.append(self._chosen(call, others))
        time_s, name, protocol_name = min(found)
        protocol = next((each for each in self._protocols if each.name == protocol_name), None)
        sent = PASSES.get(kind, 1.0) * nbytes * (ranks - 1) / ranks
        sms = 0 if protocol is None else protocol.sms
        given = count // ranks if kind == "all_gather" else count
        got = count // ranks if kind == "reduce_scatter" else count
        return CollectiveCost(time_s, sms, 2.0 * sent, sent, hosts, name, ranks, dtype, given, got)

    def _chosen(self, call: Call, names: tuple[str, ...]) -> tuple[float, str, str]:
        """Time of the fastest of `names`, with its name and that of its protocol."""
        known = in_bulk(call.collective, names)
        if call.world_size > BULK_ABOVE and known and not refusal(self._topology):
            choice = self._chooser(call.group.devices, call.group).choose(call, known, 1)
        else:
            choice = choose(self._topology, call, names, self._likely(call), 1, explains=False)
        best = choice.best
        if best.time_s is None:
            raise BadCall(f"{call.collective} of {call.count} {call.dtype} over {call.world_size} ranks has no time")
        return best.time_s, f"{best.algorithm}/{best.protocol}", best.protocol

    def _likely(self, call: Call) -> tuple[Protocol, ...]:
        """The protocol that a library expects to be fastest, and those that single algorithms have for themselves."""
        steps = call.world_size - 1
        sent = call.count * call.item_bytes * steps / call.world_size

        def about_s(protocol: Protocol) -> float:
            rate = protocol.rate_bytes_per_s or float("inf")
            return protocol.base_s + steps * (protocol.hop_s or 0.0) + sent / rate

        plain = [each for each in self._protocols if not each.algorithms]
        return (min(plain, key=about_s), *(each for each in self._protocols if each.algorithms))

    def _rings(self, call: Call) -> tuple[float, str, str]:
        """Rings over many hosts, from those over two and three with chunks of the same size.

        A ring over more hosts makes more steps of the same kind, each of the same chunk, so its time grows by as much
        for every further host.
        """
        by_host = call.group.by_host()
        chunk = max(1, -(-call.count // call.world_size))
        times: list[tuple[float, str, str]] = []
        for hosts in FEW_HOSTS:
            devices = tuple(call.group.devices[rank] for ranks in by_host[:hosts] for rank in ranks)
            few = self._group(devices)
            times.append(self._chosen(replace(call, group=few, count=chunk * few.world_size), ("rings",)))
        (first_s, _, _), (second_s, name, protocol) = times
        more = (second_s - first_s) / (FEW_HOSTS[1] - FEW_HOSTS[0])
        return second_s + more * (len(by_host) - FEW_HOSTS[1]), f"{name}, from {FEW_HOSTS[1]} hosts", protocol

    def _names(self, kind: str, group: Group) -> tuple[str, ...]:
        hosts = group.by_host()
        even = all(len(ranks) == len(hosts[0]) for ranks in hosts)
        names = LIBRARY[kind]
        if len(hosts) > 1 and even and "rings" in names:
            return tuple(name for name in names if name not in ("ring", "nvls"))
        return tuple(name for name in names if name not in ("rings", "nvls_tree", "nvls"))

    def _group(self, devices: tuple[str, ...]) -> Group:
        if devices not in self._groups:
            self._groups[devices] = group_of(self._topology, list(devices))
        return self._groups[devices]

    def _chooser(self, devices: tuple[str, ...], group: Group) -> BulkChooser:
        if devices not in self._choosers:
            self._choosers[devices] = BulkChooser(self._topology, group, self._protocols)
        return self._choosers[devices]


def devices_of(ranks: Sequence[int], all_devices: Sequence[str]) -> tuple[str, ...]:
    """Devices of global ranks."""
    return tuple(all_devices[rank] for rank in ranks)
