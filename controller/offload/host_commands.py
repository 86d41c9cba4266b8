"""The host thread that submits commands to drives, one after the other.

Model: a command takes the thread as long as its CPU declares (queue of kind ``command``): entering the kernel, driver,
doorbell, and the same way back when it has completed. Drives work side by side, and their commands wait for one thread,
so that a step over n drives pays n times what one drive pays. A host that declares no such queue submits for nothing.
Source: Zhong et al., 'XRP: In-Kernel Storage Functions with eBPF', OSDI 2022, table 1 (software of a read through
Linux); the values are in the sheets of CPUs.
Valid for: commands of one process that waits for their results.
Not modelled: several threads, batches of commands at one doorbell, interrupts that disturb other threads.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.plan.script import Script
from controller.plan.value import Place
from controller.topology.schema import Topology


class HostCommands:
    """The thread of one host.

    Attributes:
        command_s: of the thread for each command [s]; 0 where none is declared.
    """

    def __init__(self, topology: Topology, drive: str) -> None:
        """Args are the cluster and a drive of the host."""
        host = topology.devices[drive].host
        self.command_s, self._queue, self._place = 0.0, "", Place(drive, "dram")
        for cpu in topology.of_kind("cpu"):
            queue = next((queue for queue in cpu.spec.queues.values() if queue.kind == "command"), None)
            if cpu.host == host and queue is not None:
                self.command_s, self._queue = queue.launch_s, queue.name
                self._place = Place(cpu.name, next(iter(cpu.spec.tiers)))
                return

    def submit(self, s: Script, commands: int, after: Sequence[int] = ()) -> tuple[int, ...]:
        """Submits commands to one drive once the ops `after` have ended; returns what their work waits for."""
        if not self.command_s or not commands:
            return ()
        seconds = commands * self.command_s
        s.results("delay", on=self._place, out=(), queue=self._queue, label="submit", after=after, seconds=seconds)
        return (s.count - 1,)
