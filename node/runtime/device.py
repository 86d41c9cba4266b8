"""An emulated device: its memory, its queues, its clock and its peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

from node.clock import wall_now
from node.errors import ShuttingDown, Unsupported
from node.protocol import HORIZON_S
from node.runtime.batch import Action, BatchRun, Command
from node.runtime.events import Cause
from node.runtime.kernels import KernelCall
from node.runtime.parts import DeviceParts, NodeConfig
from node.runtime.pushes import PushCall
from node.runtime.queues import FreeRunner, InOrderQueue, Runner
from node.runtime.timekeeping import PacedTime
from node.wire.checks import checked_number
from node.wire.commands import LaunchKernel, Push


class MemoryCall:
    """An allocation or a free in the course of a batch; takes no device time."""

    issued = False
    queue = ""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def execute(self, start_at: float) -> tuple[float, bool]:
        """Does it."""
        self._act()
        return start_at, False


class EmulatedDevice(DeviceParts):
    """One device: its parts, and the queues that work on them."""

    def __init__(self, config: NodeConfig) -> None:
        """Opens the tiers.

        Raises:
            CorruptTier, BufferExists: of a flash folder.
        """
        super().__init__(config)
        self._runner = Runner(self.events, self.peers.tell)
        self._queues = {
            queue.name: InOrderQueue(config.device, queue, self._runner) for queue in config.spec.queues.values()
        }
        self._free = FreeRunner(config.device, self._runner)
        self._issue = config.spec.issue_queue
        self._arrival = Lock()  # one batch after the other enters the queues
        self._closed = False
        self._launched_at = 0.0

    def start_clock(self, epoch: float) -> None:
        """Sets device time 0 and forgets what queues and resources were booked for; nothing may be running."""
        self.set_clock(epoch)
        for queue in self._queues.values():
            queue.restart()
        self._launched_at = 0.0

    def kernel(self, launch: LaunchKernel) -> Action:
        """What a launch does."""
        compute = self.config.spec.compute_queue
        if not launch.queue and compute is None:
            raise Unsupported(
                f"{self.config.device} ({self.config.spec.kind}) has no compute queue: it runs no kernels"
            )
        return KernelCall(launch, self)

    def push(self, push: Push) -> Action:
        """What a push does."""
        return PushCall(push, self)

    def begin(self, batch: BatchRun, commands: Sequence[Command]) -> None:
        """Puts commands on their queues.

        Raises:
            Unsupported: a queue that the device lacks.
            ShuttingDown: it takes no more work.
        """
        if self._closed:
            raise ShuttingDown(f"{self.config.device} is shutting down and takes no more commands")
        issue = self._issue
        by_queue: dict[str, list[Command]] = {}
        free: list[Command] = []
        compute = self.config.spec.compute_queue
        default = compute.name if compute is not None else ""
        for command in commands:
            queue = command.call.queue or (default if command.call.issued else "")
            if not queue:
                free.append(command)
            elif queue in by_queue:
                by_queue[queue].append(command)
            elif queue in self._queues:
                by_queue[queue] = [command]
            else:
                has = ", ".join(self._queues) or "none"
                raise Unsupported(f"{self.config.device} has no queue {queue!r}; it has {has}")
        with self._arrival:
            if issue is not None:
                at = max(self._launched_at, batch.ready_at)
                for command in commands:
                    if command.call.issued:
                        at += issue.launch_s
                        command.launched_at = at
                self._launched_at = at
            for name, entries in by_queue.items():
                self._queues[name].add(entries)
            for command in free:
                self._free.add(command)

    def batch(
        self, number: int, size: int, ready_at: float, timeout_s: float, done: Callable[[BatchRun], None]
    ) -> BatchRun:
        """A batch whose end is counted and then told to `done`.

        Raises:
            BadAttribute: with pacing, a `ready_at` that nobody can wait for.
        """
        if isinstance(self.timekeeper, PacedTime):
            clock = self.timekeeper.clock
            checked_number("ready_at", ready_at, "s", clock.now() + HORIZON_S / clock.dilation)

        def ended(batch: BatchRun) -> None:
            self.counters.batch(size, len(batch.failures), sum(batch.overrun))
            done(batch)

        return BatchRun(number, size, ready_at, wall_now() + timeout_s, ended)

    def peer_event(self, event: int, outcome: float | Cause) -> None:
        """A peer says how one of its commands ended."""
        self.events.end(event, outcome)

    def close(self) -> None:
        """Takes no more commands, fails those that wait, and lets go of the tiers."""
        self._closed = True
        self._free.close()
        self.store.close()
