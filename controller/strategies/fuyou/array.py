"""Tensors striped over all drives, and the one request after the other that brings them.

Every tensor lies on all n drives in contiguous stripes, so that every request keeps all of them busy. Requests follow
one another: a drive is simplex, and the swapper waits for a tensor before it asks for the next. What a request takes is
the time on its drives, which shrinks with their number, and the time in the host (file system, software RAID, DMA into
pinned memory), which does not: with s bytes, n drives of rate r and a host path h,

    seconds = s / (n r) + s / h

Source: LoHan / Ratel, section IV-D (the SSDs are simplex) and figure 1 (32 GB/s for twelve drives). That the two times
add up is assumed; with it the published sweep over 1 to 12 drives and the 175B row follow from one efficiency.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from controller.errors import BadTopology
from controller.plan.build import Operand, PlanBuilder, as_view
from controller.plan.ops import Buffer, View
from controller.plan.ranges import even_ranges
from controller.program.run import Array, Content, Run
from controller.topology.schema import Device, Topology
from node.errors import BadQuantity
from node.hardware.operation import ITEM_BYTES
from node.hardware.units import parse

Values = Array
HOST_PATH = "ssd_array.host_path"
EFFICIENCY = "ssd_array.efficiency"


@dataclass(frozen=True, slots=True)
class Striped:
    """One flat tensor on the array.

    Attributes:
        elements: of the whole tensor.
        stripes: one buffer a drive that holds some of it, in order.
        starts: first element of each.
    """

    elements: int
    stripes: tuple[Buffer, ...]
    starts: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size of the whole tensor [bytes]."""
        return sum(stripe.nbytes for stripe in self.stripes)

    def part(self, index: int, whole: Operand) -> View:
        """Where stripe `index` lies within `whole`, a flat tensor of as many elements in memory."""
        view = as_view(whole)
        item = ITEM_BYTES[view.buffer.dtype]
        return View(view.buffer, view.offset_bytes + self.starts[index] * item, self.stripes[index].shape)

    def content(self, index: int, whole: Content) -> Content:
        """The content of stripe `index` out of that of the whole tensor."""
        if whole is None:
            return None
        start, stop = self.starts[index], self.starts[index] + self.stripes[index].shape[0]

        def make() -> Values:
            values: Values = whole() if callable(whole) else whole
            return values.reshape(-1)[start:stop]

        return make


@dataclass
class DriveArray:
    """The drives of one run.

    Attributes:
        drives: devices of equal make.
        tier: of each drive.
        read_bytes_per_s, write_bytes_per_s: of all drives and the host together, as a request finds them [bytes/s].
    """

    drives: tuple[Device, ...]
    tier: str
    read_bytes_per_s: float
    write_bytes_per_s: float
    _last: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, topology: Topology) -> DriveArray:
        """The array of every drive in the topology; without the two options at the rates of the data sheet.

        Raises:
            BadTopology: there is no drive, or an option that is no number.
        """
        drives = tuple(device for device in topology.of_kind("csd"))
        if not drives:
            raise BadTopology(
                f"topology {topology.name!r} has no drive for parameters and optimizer states; "
                f"choose another --topology, for example server_4090"
            )
        tier = next(iter(drives[0].spec.tiers.values()))
        efficiency = declared(topology, EFFICIENCY, "ratio") or 1.0
        host = declared(topology, HOST_PATH, "bytes/s") or math.inf
        # The slowest drive holds a striped request up.
        read = min(drive.spec.tiers[tier.name].read_bytes_per_s for drive in drives) * efficiency * len(drives)
        write = min(drive.spec.tiers[tier.name].write_bytes_per_s for drive in drives) * efficiency * len(drives)
        return cls(drives, tier.name, 1.0 / (1.0 / read + 1.0 / host), 1.0 / (1.0 / write + 1.0 / host))

    def tensor(self, name: str, dtype: str, elements: int) -> Striped:
        """A flat tensor of `elements` over all drives, in stripes whose sizes differ by one element at most."""
        ranges = [(start, stop) for start, stop in even_ranges(elements, len(self.drives)) if stop > start]
        stripes = tuple(
            Buffer(drive.name, self.tier, name, dtype, (stop - start,))
            for drive, (start, stop) in zip(self.drives, ranges, strict=False)
        )
        return Striped(elements, stripes, tuple(start for start, _ in ranges))

    def begin(self) -> None:
        """A new plan begins: its first request waits for nobody."""
        self._last.clear()

    def read(self, build: PlanBuilder, tensor: Striped, target: Operand, label: str, after: Sequence[int] = ()) -> None:
        """Requests `tensor` into `target`, a flat tensor of as many elements in memory."""
        limit = self.read_bytes_per_s / len(self.drives)
        for index, stripe in enumerate(tensor.stripes):
            self._request(build, stripe.view(), tensor.part(index, target), limit, stripe.device, label, after)

    def write(self, build: PlanBuilder, tensor: Striped, source: Operand, label: str) -> None:
        """Requests `source`, a flat tensor of as many elements in memory, to be written to `tensor`."""
        limit = self.write_bytes_per_s / len(self.drives)
        for index, stripe in enumerate(tensor.stripes):
            self._request(build, tensor.part(index, source), stripe.view(), limit, stripe.device, label, ())

    def place(self, run: Run, tensor: Striped, content: Content = None, *, written: bool = True) -> None:
        """Places the stripes of `tensor`, with their parts of `content`."""
        for index, stripe in enumerate(tensor.stripes):
            run.place(stripe, tensor.content(index, content), written=written)

    def _request(
        self,
        build: PlanBuilder,
        source: View,
        target: View,
        limit: float,
        drive: str,
        label: str,
        after: Sequence[int],
    ) -> None:
        before = (self._last[drive],) if drive in self._last else ()
        self._last[drive] = build.transfer(
            source, target, rate_limit_bytes_per_s=limit, after=(*before, *after), label=label
        )


def declared(topology: Topology, option: str, dimension: str) -> float | None:
    """A positive number among the options of the topology; None where it says nothing.

    Raises:
        BadTopology: it is none.
    """
    text = topology.options.get(option)
    if text is None:
        return None
    try:
        number = float(parse(text, dimension))
    except BadQuantity as error:
        raise BadTopology(f"topology {topology.name!r}, option {option}: {error}") from error
    if number <= 0:
        raise BadTopology(f"topology {topology.name!r}, option {option} is {text!r}; write a number above 0")
    return number
