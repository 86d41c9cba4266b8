"""What flash dies give a drive: channels, dies and planes, pages that are read and programmed, blocks that are erased.

Model: a die works on one page of each of its planes at a time and sends them over the channel that it shares with other
dies; so a channel gives the less of its bus and of its dies together, and the channels add up. A page is programmed
once and erased with its block: writing costs the program of each page and its share of the block's erase, for every
byte that the drive writes in the end (`amplification`: what overwrites make it move, 1 for blocks that are written in
order and die together). A block that dies with live pages in it has them copied first, which costs their read and
program.
Source: Grupp et al., 'Characterizing flash memory: anomalies, observations, and applications', MICRO 2009 (page read,
program and block erase); Hu et al., 'Write amplification analysis in flash-based solid state drives', SYSTOR 2009.
Valid for: streams that keep every die busy; fewer dies than pages in flight.
Not modelled: suspension of programs and erases by reads, caches of fast cells, mapping that spills, wear.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.hardware.flash import write_amplification


@dataclass(frozen=True, slots=True)
class FlashArray:
    """Flash of one drive.

    Attributes:
        channels: buses, each with its own dies.
        dies: on one channel.
        planes: of a die that work side by side.
        page_bytes: read and programmed as one [bytes].
        block_pages: erased as one.
        read_s: of a page from the cells [s].
        program_s: of a page [s].
        erase_s: of a block [s].
        channel_bytes_per_s: of one bus [bytes/s].
    """

    channels: int
    dies: int
    planes: int
    page_bytes: int
    block_pages: int
    read_s: float
    program_s: float
    erase_s: float
    channel_bytes_per_s: float

    @property
    def block_bytes(self) -> int:
        """Size of a block [bytes]."""
        return self.block_pages * self.page_bytes

    @property
    def read_bytes_per_s(self) -> float:
        """Reads of all dies together [bytes/s]."""
        return self._rate(self.read_s)

    def write_bytes_per_s(self, amplification: float = 1.0) -> float:
        """Writes that users see [bytes/s].

        Args:
            amplification: pages that are programmed for each that is written; those beyond the first are read too.

        Raises:
            ValueError: less than 1.
        """
        if amplification < 1.0:
            raise ValueError(f"write amplification is {amplification}; what is written is programmed once at least")
        moved = amplification - 1.0
        page_s = amplification * (self.program_s + self.erase_s / self.block_pages) + moved * self.read_s
        # A page that is moved passes the bus twice: to the controller, which checks it, and back.
        bus = self.channels * self.channel_bytes_per_s / (amplification + moved)
        return min(bus, self._dies_rate(page_s))

    def overwrite_bytes_per_s(self, spare_share: float) -> float:
        """Random overwrites with this area beyond what users see, see `flash.write_amplification` [bytes/s]."""
        return self.write_bytes_per_s(write_amplification(spare_share))

    def collect_s(self, live_share: float) -> float:
        """Time of one die to free one block of which `live_share` of the pages are alive [s].

        Raises:
            ValueError: a share outside 0 to 1.
        """
        if not 0.0 <= live_share <= 1.0:
            raise ValueError(f"live share is {live_share}; it lies between 0 and 1")
        bus_s = 2.0 * self.page_bytes / self.channel_bytes_per_s
        return self.erase_s + live_share * self.block_pages * (self.read_s + self.program_s + bus_s)

    def _rate(self, page_s: float) -> float:
        return min(self.channels * self.channel_bytes_per_s, self._dies_rate(page_s))

    def _dies_rate(self, page_s: float) -> float:
        return self.channels * self.dies * self.planes * self.page_bytes / page_s
