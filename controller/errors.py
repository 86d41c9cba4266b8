"""What can go wrong in the controller, drawn as a tree; what goes wrong inside a node is in `node.errors`.

::

    WindtunnelError
    ├── UserError                   exit code 2, no traceback
    │   ├── BadTopology             a topology file with an unknown key, link, product, unit or name; file and line
    │   ├── BadOverride             a --set that names nothing or gives a wrong value
    │   ├── UnknownStrategy         no such strategy, or a file without such a function
    │   ├── UnknownModel            no model of that name and no config.json at that path
    │   ├── BadWorkload             impossible batch, prompt or output lengths
    │   ├── UnknownTopic            nothing that `windtunnel help` could explain
    │   ├── BadQuestion             sizes that no prediction can be made for
    │   ├── BadMeasurements         a file of measurements that cannot be used; file and line
    │   ├── BadDump                 a dump or trace of telemetry that cannot be used (`controller.diagnosis.errors`)
    │   ├── BadPlan                 a plan that cannot be executed anywhere
    │   │   ├── PlanCycle           ops that wait for each other
    │   │   ├── UnorderedAccess     two writers, or a writer and a reader, without an order
    │   │   ├── UnwrittenRead       bytes that are read and never written
    │   │   ├── DoubleFree          a buffer freed twice, or used after it was freed
    │   │   ├── UnknownDevice       a device, tier or queue that the topology lacks
    │   │   ├── UnboundParameter    an open size without a value
    │   │   ├── OutsideBuffer       a view that leaves its buffer, or begins inside an element
    │   │   └── TransferMismatch    source and destination of different size
    │   ├── UnknownAlgorithm        no such collective, algorithm or protocol (`controller.collectives.errors`)
    │   ├── BadGroup                ranks that do not form a group (`controller.collectives.errors`)
    │   ├── BadCall                 a call that a collective or algorithm cannot have (`controller.collectives.errors`)
    │   ├── BadWait                 a program that waits for one thing twice, or for no such thing
    │   ├── BadResult               a program that returns what is no result
    │   ├── NoRoute                 two devices that no link joins
    │   ├── MissingExtra            an optional dependency that is not installed
    │   └── PreflightFailed         this machine lacks memory, disk, files or speed for a live run
    └── RunError                    the run itself ended badly
        ├── OutOfMemory             a tier that is full: device, tier and missing bytes; a result, not a crash
        ├── DeviceUnreachable       a node that does not answer or has died
        ├── StartFailed             a node that did not become ready
        ├── KernelFailed            a node refused or failed an op
        ├── StrategyFailed          a strategy of the user's own raised an exception; file and line
        ├── LinkFailed              a link failed, no other path works, and ops wait on it: which, since when
        └── Deadlock                nothing can go on: who waits for what
"""

from __future__ import annotations


class WindtunnelError(Exception):
    """Root of everything that the controller reports; ``str(error)`` is the sentence for people."""


class UserError(WindtunnelError):
    """Wrong input; the command line exits with 2 and prints no traceback."""


class BadTopology(UserError):
    """Invalid topology file; says file and line."""


class BadOverride(UserError):
    """A ``--set`` that names nothing or gives a wrong value."""


class UnknownStrategy(UserError):
    """No strategy of that name, or a file without such a function."""


class UnknownModel(UserError):
    """No model of that name and no config.json at that path."""


class UnknownTopic(UserError):
    """Nothing of this name for ``windtunnel help`` to explain."""


class BadWorkload(UserError):
    """Impossible batch, prompt or output lengths."""


def check_limit(kind: type[UserError], what: str, value: int, limit: int, cost: str, fix: str) -> None:
    """Refuses a value that would run without end or take all memory, before anything is built.

    Args:
        kind: error to raise.
        what: name of the value, as the user writes it.
        value: as given.
        limit: the largest that is accepted.
        cost: what `value` would take, as a clause.
        fix: the way out, in the imperative.

    Raises:
        UserError: of `kind`; names value, limit, cost and the way out in one line.
    """
    if value > limit:
        raise kind(f"{what} is {value}; the limit is {limit:,}: {cost}; {fix}")


def duration_text(seconds: float) -> str:
    """A duration as people say it: ``50 s``, ``12 min``, ``3 h``, ``46 days``, ``32 years``."""
    for length, unit in ((365 * 86400, "years"), (86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.3g} s"


class BadQuestion(UserError):
    """Sizes that no prediction can be made for; says which."""


class BadMeasurements(UserError):
    """A file of measurements that cannot be used; says file and line."""


class BadPlan(UserError):
    """A plan that no executor can run."""


class PlanCycle(BadPlan):
    """Ops that wait for each other."""


class UnorderedAccess(BadPlan):
    """Two writers, or a writer and a reader, of the same bytes without an order."""


class UnwrittenRead(BadPlan):
    """Bytes that are read and never written."""


class DoubleFree(BadPlan):
    """A buffer freed twice, or used after it was freed."""


class UnknownDevice(BadPlan):
    """A device, tier or queue that the topology lacks."""


class UnboundParameter(BadPlan):
    """An open size without a value."""


class OutsideBuffer(BadPlan):
    """A view that leaves its buffer, or begins inside an element."""


class TransferMismatch(BadPlan):
    """Source and destination of different size."""


class BadWait(UserError):
    """A program that waits for one thing twice, or for what is no ticket."""


class BadResult(UserError):
    """A program that returns what is no result."""


class NoRoute(UserError):
    """Two devices that no link joins."""


class MissingExtra(UserError):
    """An optional dependency that is not installed; says how to install it."""


class PreflightFailed(UserError):
    """This machine lacks memory, disk, files or speed for a live run."""


class RunError(WindtunnelError):
    """The run itself ended badly."""


class OutOfMemory(RunError):
    """A tier that is full: a result of the run, not a crash.

    Attributes:
        device, tier: where.
        need_bytes, free_bytes, capacity_bytes: how much [bytes].
        what: the buffer that did not fit.
    """

    def __init__(
        self, device: str, tier: str, need_bytes: int, free_bytes: int, capacity_bytes: int, what: str = ""
    ) -> None:
        self.device, self.tier, self.what = device, tier, what
        self.need_bytes, self.free_bytes, self.capacity_bytes = need_bytes, free_bytes, capacity_bytes
        super().__init__(
            f"OOM at {device}.{tier}: {self.missing_bytes} bytes missing"
            f" ({what or 'the allocation'} needs {need_bytes}, {free_bytes} free of {capacity_bytes})"
        )

    @property
    def missing_bytes(self) -> int:
        """How much larger the tier would have to be [bytes]."""
        return self.need_bytes - self.free_bytes


class DeviceUnreachable(RunError):
    """A node that does not answer or has died.

    Attributes:
        device: whose node; ``arbiter`` is the process that grants links.
    """

    def __init__(self, message: str, device: str) -> None:
        super().__init__(message)
        self.device = device


class StartFailed(RunError):
    """A node that did not become ready."""


class KernelFailed(RunError):
    """A node refused or failed an op.

    Attributes:
        device: of the node.
        plan: name of the plan.
        op: what it did, in words.
    """

    def __init__(self, message: str, device: str, plan: str, op: str) -> None:
        super().__init__(message)
        self.device, self.plan, self.op = device, plan, op


class StrategyFailed(RunError):
    """A strategy of the user's own raised an exception; says file and line."""


class LinkFailed(RunError):
    """A link failed in mid-run and what waits on it has no other path; says link, time and ops.

    Attributes:
        links: names of the failed links that somebody waits on.
    """

    def __init__(self, message: str, links: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.links = links


class Deadlock(RunError):
    """Nothing can go on; says who waits for what.

    Attributes:
        plans: that cannot end.
        events: that programs wait for and nobody is left to set.
    """

    def __init__(self, message: str, plans: tuple[str, ...] = (), events: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.plans, self.events = plans, events
