"""Faults on live node processes, from the same timeline as virtual runs: real signals at instants of wall time.

============  ==========================================================================================
dead          SIGKILL; a process that has ended stays so, whatever the fault says of its end. Of a link or
              switch: nodes are told to drop it, and a push over it fails
flap          of a link or switch: dropped in turns
frozen        SIGSTOP, and SIGCONT when the fault ends
slow          SIGSTOP and SIGCONT in turns, so that the process runs 1 / severity of every `SLICE_S`
bandwidth     of a tier or port: its node is told that so much of its speed is left (with pacing only)
read_retries  of a tier or device: the same for reads (with pacing only)
corrupt       nodes are told to change a bit in that share of the pushes that pass the part
============  ==========================================================================================

A fault of a host or rack strikes the processes of all its devices. Times count from `Injection.begin`, which is when
the first plan of the run is about to start. Other faults are refused here, and run on the virtual clock.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Mapping
from contextlib import suppress
from threading import Event as Gate
from threading import Thread
from typing import Protocol

from controller.clock import wall_clock_s
from controller.errors import BadTopology, RunError
from controller.faults.effects import Effects, EffectsOf
from controller.faults.targets import struck
from controller.faults.timeline import Timeline
from controller.topology.fault import BANDWIDTH, CORRUPT, DEAD, FLAP, FROZEN, READ_RETRIES, SLOW
from controller.topology.schema import Topology
from node.errors import NodeError

SLICE_S = 0.05
"""Of which a slow process runs a part [s of wall time]."""
_COMPUTING = ("device", "process", "host", "rack")
_JOINING = ("link", "switch")
LIVE_KINDS: Mapping[str, tuple[str, ...]] = {
    DEAD: (*_COMPUTING, *_JOINING),
    FROZEN: _COMPUTING,
    SLOW: _COMPUTING,
    FLAP: _JOINING,
    BANDWIDTH: ("tier", "port"),
    READ_RETRIES: ("tier", "device"),
    CORRUPT: (*_COMPUTING, *_JOINING, "tier"),
}
"""What each kind can strike on live nodes."""
PACED_KINDS = (BANDWIDTH, READ_RETRIES)
SEED = 7
"""Of the pushes that are changed, and of their bits."""


class StrikableNode(Protocol):
    """A node that can be told what is wrong with it; see `node.client.NodeClient.strike`."""

    def strike(
        self,
        throttled: Mapping[str, tuple[float, float]] | None = None,
        dropped: Collection[str] = (),
        corrupt: Mapping[tuple[str, str], float] | None = None,
        seed: int = 0,
    ) -> None:
        """Says what is wrong from now on, in place of what was before."""


def check_live(timeline: Timeline, *, paced: bool) -> None:
    """Refuses faults that neither a signal nor a node can bring about.

    Args:
        timeline: the faults.
        paced: whether nodes are held to their declared speed.

    Raises:
        BadTopology: names the first of them, and what to write.
    """
    for fault in timeline.faults:
        if fault.target.kind not in LIVE_KINDS.get(fault.kind, ()):
            able = (
                ", ".join(kind for kind, parts in LIVE_KINDS.items() if fault.target.kind in parts) or "no such thing"
            )
            raise BadTopology(
                f"{fault}: live nodes cannot be {fault.kind} of a {fault.target.kind}, which can be {able}; remove "
                f"--live, or write another kind or target"
            )
        if fault.kind in PACED_KINDS and not paced:
            raise BadTopology(
                f"{fault}: nodes that go as fast as this machine can have no speed to lose; add --pace to the workload"
            )


class Injection:
    """Signals to the processes of a cluster until it is closed.

    Attributes:
        struck: device to the instant at which it was first struck [s of the wall clock].
    """

    def __init__(
        self, timeline: Timeline, processes: Mapping[str, int], nodes: Mapping[str, StrikableNode] | None = None
    ) -> None:
        """Args are the faults, checked by `check_live`, and process ids and nodes by device."""
        self._effects, self._processes = EffectsOf(timeline), dict(processes)
        self._topology, self._nodes = timeline.topology, dict(nodes or {})
        self._told: dict[str, Orders] = {}
        self._now = Effects()
        self._closed = Gate()
        self._thread: Thread | None = None
        self.struck: dict[str, float] = {}

    def begin(self) -> None:
        """Time 0 of the faults is now, and what begins then strikes before this returns; later calls change nothing."""
        if self._thread is None and self._effects.instants:
            began_at = wall_clock_s()
            if self._effects.instants[0] <= 0.0:
                self._apply(self._effects.at(0.0))
            self._thread = Thread(target=self._run, args=(began_at,), name="injection", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ends it; what stands still goes on."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        for device in self._now.frozen | set(self._now.compute):
            self._signal(device, signal.SIGCONT)

    def __enter__(self) -> Injection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, began_at: float) -> None:
        for at_s in self._effects.instants:
            while (left := began_at + at_s - wall_clock_s()) > 0:
                if self._pause(left):
                    return
            self._apply(self._effects.at(at_s))
        while not self._closed.is_set():
            self._pause(SLICE_S if self._now.compute else 1.0)

    def _apply(self, after: Effects) -> None:
        for device in sorted(after.dead_devices - self._now.dead_devices):
            self._strike(device, signal.SIGKILL)
        for device in sorted(after.frozen - self._now.frozen):
            self._strike(device, signal.SIGSTOP)
        for device in sorted(self._now.frozen - after.frozen):
            self._signal(device, signal.SIGCONT)
        for device in after.compute.keys() - self._now.compute.keys():
            self.struck.setdefault(device, wall_clock_s())
        for device, node in self._nodes.items():
            orders = _orders(self._topology, device, after)
            if orders == self._told.get(device, NO_ORDERS) or device in after.dead_devices | after.frozen:
                continue
            self._told[device] = orders
            with suppress(RunError, NodeError):  # a node that has died meanwhile is named by whoever needs it
                node.strike(orders[0], orders[1], orders[2], SEED)
        self._now = after

    def _pause(self, left_s: float) -> bool:
        """Waits, at most one slice while anything is slow; whether the injection was closed."""
        slow = {device: ratio for device, ratio in self._now.compute.items() if device not in self._now.frozen}
        if not slow:
            return self._closed.wait(left_s)
        slice_s = min(SLICE_S, left_s)
        runs = sorted((ratio * slice_s, device) for device, ratio in slow.items())
        passed_s = 0.0
        for device in slow:
            self._signal(device, signal.SIGCONT)
        for run_s, device in runs:
            if self._closed.wait(max(0.0, run_s - passed_s)):
                return True
            passed_s = run_s
            self._signal(device, signal.SIGSTOP)
        ended = self._closed.wait(slice_s - passed_s)
        for device in slow:
            self._signal(device, signal.SIGCONT)
        return ended

    def _strike(self, device: str, number: signal.Signals) -> None:
        self._signal(device, number)
        self.struck.setdefault(device, wall_clock_s())

    def _signal(self, device: str, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._processes[device], number)


Orders = tuple[dict[str, tuple[float, float]], frozenset[str], dict[tuple[str, str], float]]
NO_ORDERS: Orders = ({}, frozenset(), {})


def _orders(topology: Topology, device: str, effects: Effects) -> Orders:
    """What a node is told: shares left of its tiers and ports, dropped links, and what changes bytes."""
    throttled: dict[str, tuple[float, float]] = {}
    for part, ratio in effects.bandwidth.items():
        owner, _, name = part.name.rpartition(".")
        if part.kind in ("tier", "port") and owner == device and ratio > 0.0:
            throttled[name] = (ratio, ratio)
    for part, ratio in effects.reads.items():
        owner, _, name = part.name.rpartition(".")
        if owner == device:
            read, write = throttled.get(name, (1.0, 1.0))
            throttled[name] = (min(read, ratio), write)
    gone = {
        link.name
        for link in topology.links
        if {link.a.vertex, link.b.vertex} & effects.dead_devices
    }  # fmt: skip
    corrupt: dict[tuple[str, str], float] = {}
    for target, share in effects.corrupt.items():
        hit = struck(topology, target)
        parts = [("device", name) for name in hit.devices] if target.kind in _COMPUTING else []
        parts += [("link", name) for name in hit.links] if target.kind in _JOINING else []
        parts += [("tier", target.name)] if target.kind == "tier" else []
        for each in parts:
            corrupt[each] = max(corrupt.get(each, 0.0), share)
    return throttled, effects.down_links - gone, corrupt
