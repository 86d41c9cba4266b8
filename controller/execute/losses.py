"""Who is told that a device is gone: the program that listens to `Run.faults`, or the user by an error.

A dead device is noticed at once, as a closed connection tells it; a frozen one after the node timeout, if it stands
still until then. A program takes the loss when it has waited for the event of `Run.faults`: then what touches the
device stands still until the program cancels it. When no program takes it, the run ends with `DeviceUnreachable` as
soon as an op needs the device.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import inf

from controller.errors import DeviceUnreachable
from controller.faults.profile import profile
from controller.faults.targets import struck
from controller.plan.ops import Kernel, Op, Plan, Transfer
from controller.program.losses import DeviceLost
from controller.program.waits import Event
from controller.topology.fault import DEAD, FROZEN
from controller.topology.schema import Topology


class Losses:
    """The losses of one run.

    Attributes:
        gone: devices that are lost at present, with how.
    """

    def __init__(self, topology: Topology, timeout_s: float) -> None:
        """Args are the cluster with its faults, and how long a node may be silent [s]."""
        self._notices = _notices(topology, timeout_s)
        self._done = 0
        self.gone: dict[str, DeviceLost] = {}
        self._event = Event("faults")
        self._untold: list[DeviceLost] = []

    @property
    def next_at(self) -> float:
        """Instant of the next notice [s]; inf when there is none."""
        return self._notices[self._done][0] if self._done < len(self._notices) else inf

    def event(self) -> Event:
        """Happens with the next loss that the program has not been told of."""
        if self._event.is_set:
            self._event = Event("faults")
        if self._untold:
            self._event.set(self._untold.pop(0))
        return self._event

    def notice(self, now: float) -> tuple[DeviceLost, ...]:
        """What is noticed at `now` [s]; tells the program that listens."""
        new: list[DeviceLost] = []
        while self.next_at <= now:
            at_s, device, how = self._notices[self._done]
            self._done += 1
            if not how:
                self.gone.pop(device, None)
            elif device not in self.gone:
                self.gone[device] = DeviceLost(device, at_s, how)
                new.append(self.gone[device])
        return tuple(new)

    def tell(self, lost: Iterable[DeviceLost]) -> bool:
        """Whether a program takes these losses: it goes on with the first, and finds the others in `event`."""
        listens = bool(self._event.told) and not self._event.is_set
        self._untold += lost
        if listens:
            self._event.set(self._untold.pop(0))
        return listens

    def check(self, plan: Plan) -> None:
        """Refuses a plan on a device that is gone.

        Raises:
            DeviceUnreachable: names the device.
        """
        if self.gone:
            for op in plan.ops:
                for device in devices_of(op):
                    if device in self.gone:
                        raise unreachable(self.gone[device], plan.name)


def unreachable(lost: DeviceLost, plan: str) -> DeviceUnreachable:
    """The error when no program takes a loss."""
    return DeviceUnreachable(
        f"{lost.device} {lost.how} at {lost.at_s:g} s and plan {plan!r} needs it; let the program wait for "
        f"run.faults() and go on without it, or end the fault earlier",
        lost.device,
    )


def devices_of(op: Op) -> tuple[str, ...]:
    """The devices that an op needs."""
    if isinstance(op, Kernel):
        views = (*op.inputs, *op.outputs)
        return (op.device, *(view.buffer.device for view in views if view.buffer.device != op.device))
    if isinstance(op, Transfer):
        return tuple(view.buffer.device for view in (*op.sources, *op.destinations))
    return (op.buffer.device,)


def _notices(topology: Topology, timeout_s: float) -> list[tuple[float, str, str]]:
    """(instant, device, how) of what is noticed; how is "" where a device is back."""
    found: list[tuple[float, str, str]] = []
    for fault in topology.faults:
        if fault.kind not in (DEAD, FROZEN):
            continue
        devices = struck(topology, fault.target).devices
        levels = (*profile(fault), (inf, 0.0))
        for (at_s, level), (end_s, _) in pairwise(levels):
            noticed_s = at_s if fault.kind == DEAD else at_s + timeout_s
            if level == 0.0 or noticed_s >= end_s:
                continue
            how = "died" if fault.kind == DEAD else f"froze and was silent for {timeout_s:g} s"
            for device in devices:
                found.append((noticed_s, device, how))
                if end_s < inf:
                    found.append((end_s, device, ""))
    return sorted(found, key=lambda each: each[0])
