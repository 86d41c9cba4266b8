"""All tiers of one device: buffers by name, with every size and name checked before anything is touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from threading import Lock

from node.errors import BufferExists, BufferInUse, UnknownBuffer, UnknownTier
from node.hardware.device import DeviceSpec
from node.hardware.operation import ITEM_BYTES
from node.memory.arena import SharedArena
from node.memory.flash import FlashTier
from node.memory.tier import StoredBuffer, Tier
from node.wire.checks import checked_name, checked_range, checked_size_bytes


class DeviceStore:
    """The memory of a device.

    Attributes:
        device: its name.
        tiers: by name, in the order of the spec.
    """

    def __init__(
        self, device: str, spec: DeviceSpec, flash_folder: Path, sharing: int = 1, *, take_over: bool = False
    ) -> None:
        """Opens every tier; flash tiers find what was committed in `flash_folder`.

        Args:
            device, spec: whose memory it is.
            flash_folder: where flash tiers lie.
            sharing: devices that the process carries.
            take_over: whether to take the flash folder from a node that still holds it.

        Raises:
            BufferExists: another node holds the flash folder.
            CorruptTier: what is there is not what was committed.
        """
        self.device = device
        self._buffers: dict[str, StoredBuffer] = {}
        self._names = Lock()
        self._pins = Lock()
        tiers: dict[str, Tier] = {}
        for tier in spec.tiers.values():
            if tier.storage == "flash":
                flash = FlashTier(device, tier, flash_folder / tier.name, take_over=take_over)
                self._buffers.update((buffer.name, buffer) for buffer in flash.found)
                tiers[tier.name] = flash
            else:
                tiers[tier.name] = SharedArena(device, tier, sharing)
        self.tiers: Mapping[str, Tier] = tiers

    def allocate(self, name: str, tier: str, dtype: str, shape: Sequence[int]) -> StoredBuffer:
        """A new buffer of zeros.

        Raises:
            BadName, DtypeMismatch, ShapeMismatch: of the request.
            UnknownTier: the device has no such tier.
            BufferExists: the name is taken.
            TierFull: it does not fit.
        """
        checked_name(name)
        size_bytes = checked_size_bytes(dtype, shape)
        if tier not in self.tiers:
            raise UnknownTier(f"{self.device} has no tier {tier!r}; it has {', '.join(self.tiers)}")
        with self._names:
            if name in self._buffers:
                there = self._buffers[name]
                raise BufferExists(
                    f"{self.device} already has a buffer {name!r} in {there.tier.spec.name} "
                    f"({there.size_bytes} bytes); free it first or use another name"
                )
            buffer = self.tiers[tier].allocate(name, dtype, tuple(shape), size_bytes)
            self._buffers[name] = buffer
        return buffer

    def free(self, name: str) -> int:
        """Gives a buffer back; returns its size [bytes].

        Raises:
            UnknownBuffer: there is none of that name, perhaps because it was freed before.
            BufferInUse: a stream, a kernel or a push uses it. A free that waited would hold up its queue for as long
                as a client that stalls, and a plan that frees what is in use lacks an order that it should hear of.
        """
        with self._names:
            buffer = self.find(name)
            with self._pins:
                if buffer.users:
                    users = ", ".join(sorted(set(buffer.users)))
                    raise BufferInUse(f"{self.device}.{name} is in use by {users}; free it after that has ended")
                buffer.tier.free(buffer)
            del self._buffers[name]
        return buffer.size_bytes

    def pin(self, buffers: Sequence[StoredBuffer], user: str) -> bool:
        """Keeps buffers from being freed until `unpin`; False, and nothing is pinned, when one has been freed.

        Args:
            buffers: of this device; each may occur several times.
            user: what uses them, for the message to whoever frees one.
        """
        with self._pins:
            for buffer in buffers:
                if buffer.freed:
                    return False
            for buffer in buffers:
                buffer.users.append(user)
        return True

    def unpin(self, buffers: Sequence[StoredBuffer], user: str) -> None:
        """Undoes a `pin` with the same arguments."""
        with self._pins:
            for buffer in buffers:
                buffer.users.remove(user)

    @contextmanager
    def pinned(self, name: str, user: str) -> Iterator[StoredBuffer]:
        """The buffer called `name`, which cannot be freed in the body.

        Raises:
            UnknownBuffer: there is none.
        """
        buffer = self.find(name)
        while not self.pin((buffer,), user):
            buffer = self.find(name)  # freed since; perhaps allocated anew
        try:
            yield buffer
        finally:
            self.unpin((buffer,), user)

    def find(self, name: str) -> StoredBuffer:
        """The buffer called `name`.

        Raises:
            UnknownBuffer: there is none.
        """
        buffer = self._buffers.get(name)
        if buffer is None or buffer.freed:
            close = get_close_matches(name, list(self._buffers), 1)
            hint = f"did you mean {close[0]!r}?" if close else "allocate it first; it may have been freed"
            raise UnknownBuffer(f"{self.device} has no buffer {name!r}; {hint}")
        return buffer

    def range_of(self, name: str, offset_bytes: int, shape: Sequence[int]) -> tuple[StoredBuffer, int]:
        """A buffer and the size [bytes] of the range in it that has `shape`.

        Raises:
            UnknownBuffer: there is none of that name.
            OutOfRange: the range leaves it.
            ShapeMismatch: a shape that no memory can hold.
        """
        buffer = self.find(name)
        size_bytes = checked_size_bytes(buffer.dtype, shape)
        checked_range(name, offset_bytes, size_bytes, buffer.size_bytes, ITEM_BYTES[buffer.dtype])
        return buffer, size_bytes

    @property
    def buffers(self) -> tuple[StoredBuffer, ...]:
        """Every buffer, in the order of allocation."""
        return tuple(self._buffers.values())

    @property
    def flash(self) -> tuple[FlashTier, ...]:
        """The tiers that survive the process."""
        return tuple(tier for tier in self.tiers.values() if isinstance(tier, FlashTier))

    def prepare(self, transaction: str, participants: Sequence[str]) -> int:
        """Makes what was written to flash ready to be committed; returns the bytes written [bytes].

        Args:
            transaction: name of the commit.
            participants: devices that commit together.
        """
        checked_name(transaction)
        return sum(tier.prepare(transaction, tuple(participants)) for tier in self.flash)

    def commit(self, transaction: str) -> None:
        """Makes what was prepared survive the process.

        Raises:
            NotPrepared: this transaction was not.
        """
        for tier in self.flash:
            if tier.commit(transaction):
                with self._names:
                    for name in [name for name, buffer in self._buffers.items() if buffer.tier is tier]:
                        del self._buffers[name]
                    self._buffers.update((buffer.name, buffer) for buffer in tier.found)

    def abandon(self) -> None:
        """Forgets what was prepared and not committed."""
        for tier in self.flash:
            tier.abandon()

    def close(self) -> None:
        """Lets go of descriptors."""
        for tier in self.tiers.values():
            tier.close()
