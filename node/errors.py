"""What can go wrong inside a node, free of gRPC so that every layer may raise and catch it.

::

    NodeError
    ├── UserInput                  what a caller asked is invalid
    │   ├── BadQuantity            a number without a unit, an unknown unit, a wrong dimension
    │   ├── BadName                a name that is empty, too long or could leave its folder
    │   ├── UnknownProduct         no sheet of that name in the catalog
    │   ├── BadSheet               a device sheet with a missing, unknown or unphysical entry
    │   ├── UnknownOperation       no such kernel in the operation table
    │   ├── BadAttribute           an attribute that is missing, unknown or out of range
    │   ├── ShapeMismatch          operands whose shapes do not fit the operation
    │   ├── DtypeMismatch          operands whose types do not fit the operation
    │   ├── MessageTooLarge        a request beyond the size that a node takes at once
    │   └── UnsecuredAddress       a node told to listen where strangers reach it, without TLS and a token
    ├── UnknownBuffer              read, write, launch or free of a buffer that is not there
    ├── BufferExists               an allocation under a name that is taken
    ├── BufferInUse                a free of a buffer that a stream, kernel or push uses
    ├── OutOfRange                 a slice beyond the end of its buffer
    ├── UnknownTier                the device has no such tier
    ├── TierFull                   need, free and capacity say how much is missing
    ├── MachineFull                the machine that emulates lacks disk, memory or files
    ├── CorruptTier                what a flash tier finds on disk is not what it wrote
    ├── Fenced                     a node that was replaced and tried to write to its flash folder
    ├── NotPrepared                a commit of what was not prepared
    ├── WaitTimeout                a command waited for an event that did not come
    ├── PeerUnreachable            a push or a signal to another node failed
    ├── LinkDropped                a push over a link that was dropped on purpose
    ├── StreamLost                 a call that continues a stream which the node does not keep any more
    ├── Unsupported                the device kind cannot do that
    ├── TooManyCalls               more calls of a kind are open than a node serves
    ├── NotAdmitted                a call without the token of the run
    ├── NotCarried                 a call for a device that lives in another process
    └── ShuttingDown               the node takes no more work

Every leaf says what is wrong with value and unit, the limit, where, and what to do.
"""

from __future__ import annotations


class NodeError(Exception):
    """Root of everything that a node reports; ``str(error)`` is the sentence for people."""


class UserInput(NodeError):
    """The caller's input is wrong; asking again unchanged fails again."""


class BadQuantity(UserInput):
    """A quantity without a unit, with an unknown unit or of another dimension."""


class BadName(UserInput):
    """A name that is empty, too long, or holds characters that could leave its folder."""


class UnknownProduct(UserInput):
    """No device sheet of that name in any catalog folder."""


class BadSheet(UserInput):
    """A device sheet with a missing, unknown or unphysical entry."""


class UnknownOperation(UserInput):
    """No such kernel in the operation table."""


class BadAttribute(UserInput):
    """A kernel attribute that is missing, unknown or out of range."""


class ShapeMismatch(UserInput):
    """Operand shapes that do not fit the operation or each other."""


class DtypeMismatch(UserInput):
    """Operand types that do not fit the operation or each other."""


class MessageTooLarge(UserInput):
    """A request beyond the size that a node takes in one message."""


class UnsecuredAddress(UserInput):
    """An address that other machines reach, without TLS and a token."""


class UnknownBuffer(NodeError):
    """No buffer of that name or handle on this node."""


class BufferExists(NodeError):
    """A buffer of that name is already allocated."""


class BufferInUse(NodeError):
    """A free of a buffer that a stream, a kernel or a push still reads or writes."""


class OutOfRange(NodeError):
    """A slice that starts or ends beyond its buffer."""


class UnknownTier(NodeError):
    """The device declares no tier of that name."""


class TierFull(NodeError):
    """An allocation that does not fit.

    Attributes:
        device: name of the device.
        tier: name of the tier.
        need_bytes: size asked for [bytes].
        free_bytes: what is free [bytes].
        capacity_bytes: what the tier holds at most [bytes].
    """

    def __init__(self, device: str, tier: str, need_bytes: int, free_bytes: int, capacity_bytes: int) -> None:
        self.device, self.tier = device, tier
        self.need_bytes, self.free_bytes, self.capacity_bytes = need_bytes, free_bytes, capacity_bytes
        super().__init__(
            f"{device}.{tier} is full: {need_bytes} bytes needed, {free_bytes} free of {capacity_bytes}, "
            f"{need_bytes - free_bytes} missing; free buffers, use a smaller batch or declare a larger tier"
        )

    @property
    def missing_bytes(self) -> int:
        """How much larger the tier would have to be [bytes]."""
        return self.need_bytes - self.free_bytes


class MachineFull(NodeError):
    """The machine that emulates the device lacks disk, memory or files; the device itself may have room."""


class CorruptTier(NodeError):
    """What a flash tier finds on disk is not what it committed."""


class Fenced(NodeError):
    """Another node has taken the flash folder over since; nothing was written."""


class NotPrepared(NodeError):
    """A commit of a transaction that this node has not prepared."""


class WaitTimeout(NodeError):
    """A command waited for an event that did not come before its deadline."""


class PeerUnreachable(NodeError):
    """Another node did not take a push or a signal."""


class LinkDropped(NodeError):
    """A push over a link that carries nothing, since a fault was asked for.

    Attributes:
        link: its name.
    """

    def __init__(self, message: str, link: str = "") -> None:
        super().__init__(message)
        self.link = link


class StreamLost(NodeError):
    """A call that continues a stream which the node does not keep any more."""


class Unsupported(NodeError):
    """The device kind cannot do what was asked."""


class TooManyCalls(NodeError):
    """More calls of a kind than a node serves at once."""


class NotAdmitted(NodeError):
    """A call that does not carry the token of the run."""


class NotCarried(NodeError):
    """A call for a device that this process does not carry."""


class ShuttingDown(NodeError):
    """The node takes no more work."""
