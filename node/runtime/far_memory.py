"""Memory of a peer in the same chassis as operands of kernels: a CPU that loads and stores on a CXL card.

The peer's shared memory is mapped and its bytes are used in place; nothing is copied. A paced node holds such a kernel
to its time alone and to its own tiers, and asks the peer for no share: what others do on the card at the same time
slows it on the virtual clock only.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.errors import Unsupported
from node.hardware.device import TierSpec
from node.memory.attach import Attachment
from node.runtime.peers import Peer
from node.wire.checks import checked_range, checked_size_bytes
from node.wire.commands import Operand


@dataclass(frozen=True, slots=True, eq=False)
class FarBuffer:
    """A buffer of a peer, mapped here.

    Attributes:
        device: the peer.
        spec: of its tier.
        dtype: how its bytes are read.
        attachment: its bytes.
    """

    device: str
    spec: TierSpec
    dtype: str
    attachment: Attachment


def far_range(peer: Peer, operand: Operand) -> tuple[FarBuffer, int]:
    """A buffer of a peer and the size [bytes] of the range in it that `operand` names.

    Raises:
        UnknownBuffer, OutOfRange, ShapeMismatch: as for a buffer of one's own.
        Unsupported: the peer's memory cannot be mapped here.
        PeerUnreachable: it has gone.
    """
    place = peer.place(operand.name)
    if place.attachment is None:
        raise Unsupported(
            f"{peer.name}.{operand.name} cannot be an operand here: kernels reach shared memory of devices in the same "
            f"chassis only; push it first"
        )
    size_bytes = checked_size_bytes(place.dtype, operand.shape)
    checked_range(f"{peer.name}.{operand.name}", operand.offset_bytes, size_bytes, place.size_bytes)
    return FarBuffer(peer.name, peer.resources.spec.tiers[place.tier], place.dtype, place.attachment), size_bytes
