"""All drives as one: tensors striped over them, and the one request after the other that brings them.

Every request keeps all drives busy. Requests follow one another: a drive is simplex, and the swapper waits for a tensor
before it asks for the next. What a request takes is the time on its drives, which shrinks with their number, and the
time in the host (file system, software RAID, DMA into pinned memory), which does not: with s bytes, n drives of rate r
and a host path h,

    seconds = s / (n r) + s / h

Source: LoHan / Ratel, section IV-D (the SSDs are simplex) and figure 1 (32 GB/s for twelve drives). That the two times
add up is assumed; with it the published sweep over 1 to 12 drives and the 175B row follow from one efficiency.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from controller.errors import BadTopology
from controller.offload.software_path import declared
from controller.offload.striped import Striped, elements, even_stripes
from controller.plan.script import Script, Source
from controller.plan.value import Place
from controller.topology.schema import Topology

HOST_PATH = "ssd_array.host_path"
EFFICIENCY = "ssd_array.efficiency"


@dataclass(frozen=True, slots=True)
class DriveArray:
    """The drives of one run.

    Attributes:
        drives: places of equal make.
        read_bytes_per_s, write_bytes_per_s: of all drives and the host together, as a request finds them [bytes/s].
    """

    drives: tuple[Place, ...]
    read_bytes_per_s: float
    write_bytes_per_s: float

    @classmethod
    def of(cls, topology: Topology) -> DriveArray:
        """The array of every drive in the topology; without the two options at the rates of the data sheet.

        Raises:
            BadTopology: there is no drive, or an option that is not a number.
        """
        drives = topology.of_kind("csd")
        if not drives:
            raise BadTopology(
                f"topology {topology.name!r} has no drive for parameters and optimizer states; "
                f"choose another --topology, for example server_4090"
            )
        tier = next(iter(drives[0].spec.tiers))
        efficiency = declared(topology, EFFICIENCY, "ratio") or 1.0
        host = declared(topology, HOST_PATH, "bytes/s") or math.inf
        # The slowest drive holds a striped request up.
        read = min(drive.spec.tiers[tier].read_bytes_per_s for drive in drives) * efficiency * len(drives)
        write = min(drive.spec.tiers[tier].write_bytes_per_s for drive in drives) * efficiency * len(drives)
        places = tuple(Place(drive.name, tier) for drive in drives)
        return cls(places, 1.0 / (1.0 / read + 1.0 / host), 1.0 / (1.0 / write + 1.0 / host))

    def tensor(self, name: str, dtype: str, count: int) -> Striped:
        """A flat tensor of `count` elements over all drives."""
        return even_stripes(name, dtype, count, self.drives)

    def requests(self, s: Script) -> Requests:
        """The requests of one script."""
        return Requests(self, s)


class Requests:
    """Requests of one script, each of which waits for the one before."""

    def __init__(self, array: DriveArray, s: Script) -> None:
        self._array, self._s = array, s
        self._last: dict[str, int] = {}

    def read(self, tensor: Striped, target: Source, label: str, after: Sequence[int] = ()) -> None:
        """Asks for `tensor` into `target`, as many elements in memory, not before the ops `after`."""
        for start, stop, stripe in tensor.within(0, tensor.elements):
            there = elements(target, start, stop - start)
            self._request(stripe, there, self._array.read_bytes_per_s, stripe.buffer.device, label, after)

    def write(self, tensor: Striped, source: Source, label: str) -> None:
        """Asks for `source`, as many elements in memory, to be written to `tensor`."""
        for start, stop, stripe in tensor.within(0, tensor.elements):
            here = elements(source, start, stop - start)
            self._request(here, stripe, self._array.write_bytes_per_s, stripe.buffer.device, label, ())

    def _request(
        self, source: Source, target: Source, bytes_per_s: float, drive: str, label: str, after: Sequence[int]
    ) -> None:
        before = (self._last[drive],) if drive in self._last else ()
        self._last[drive] = self._s.count
        limit = bytes_per_s / len(self._array.drives)
        self._s.move(source, target, label, rate_limit_bytes_per_s=limit, after=(*before, *after))
