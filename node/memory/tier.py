"""What a memory tier is: a bounded store with stable addresses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from node.errors import TierFull
from node.hardware.device import TierSpec


@dataclass(slots=True, eq=False)
class StoredBuffer:
    """A named tensor in a tier.

    Attributes:
        name: unique on the device.
        tier: where it lies.
        dtype, shape: how its bytes are read.
        size_bytes: exact size [bytes].
        place: where the tier keeps it; for the tier alone.
        freed: no longer there; whoever kept a view must look it up again.
        users: what reads or writes it now, for people; as long as there is one it cannot be freed.
    """

    name: str
    tier: Tier
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int
    place: int
    freed: bool = False
    users: list[str] = field(default_factory=list)


class Tier(ABC):
    """One level of memory of a device, with an enforced capacity in exact bytes.

    Attributes:
        device: name of the device, for errors.
        spec: what was declared.
        used_bytes, peak_bytes: now, and at most since the start [bytes].
    """

    mappable = False
    """Whether another process may write into its buffers through `attach`."""
    resident = True
    """Whether every byte has an address all the time, so that nothing has to be held while it is used."""

    def __init__(self, device: str, spec: TierSpec) -> None:
        self.device, self.spec = device, spec
        self.used_bytes = self.peak_bytes = 0
        self._accounting = Lock()

    def allocate(self, name: str, dtype: str, shape: tuple[int, ...], size_bytes: int) -> StoredBuffer:
        """A new buffer of zeros.

        Raises:
            TierFull: it does not fit.
        """
        self.take(size_bytes)
        try:
            return StoredBuffer(name, self, dtype, shape, size_bytes, self.place(size_bytes))
        except BaseException:
            self.give(size_bytes)
            raise

    def free(self, buffer: StoredBuffer) -> None:
        """Gives the buffer's bytes back.

        Raises:
            BufferInUse: another process reads or writes it.
        """
        buffer.freed = True
        self.displace(buffer.place, buffer.size_bytes)
        self.give(buffer.size_bytes)

    def take(self, size_bytes: int) -> None:
        """Counts bytes as used.

        Raises:
            TierFull: they do not fit.
        """
        with self._accounting:
            free = self.spec.capacity_bytes - self.used_bytes
            if size_bytes > free:
                raise TierFull(self.device, self.spec.name, size_bytes, free, self.spec.capacity_bytes)
            self.used_bytes += size_bytes
            self.peak_bytes = max(self.peak_bytes, self.used_bytes)

    def give(self, size_bytes: int) -> None:
        """Counts bytes as free."""
        with self._accounting:
            self.used_bytes -= size_bytes

    @abstractmethod
    def place(self, size_bytes: int) -> int:
        """Finds room for a buffer of zeros and returns where it is."""

    @abstractmethod
    def displace(self, place: int, size_bytes: int) -> None:
        """Gives the storage of a buffer back to the machine."""

    @abstractmethod
    def view(self, buffer: StoredBuffer, offset_bytes: int, size_bytes: int) -> memoryview:
        """The bytes of a range, at an address that stays valid as long as the buffer.

        Where the tier is not `resident` the range must be held while the view is used.
        """

    @contextmanager
    def held(self, buffer: StoredBuffer, offset_bytes: int, size_bytes: int, *, writes: bool) -> Iterator[None]:
        """Keeps a range at its address, loaded; with `writes` its content counts as changed."""
        yield

    def close(self) -> None:
        """Lets go of descriptors; nothing is committed."""
        return
