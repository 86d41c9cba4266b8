"""What one emulated device consists of, below what is done with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from node.clock import PacedClock
from node.hardware.device import DeviceSpec
from node.memory.resources import DeviceResources
from node.memory.store import DeviceStore
from node.runtime.counters import Counters
from node.runtime.events import Events
from node.runtime.grants import GrantDesk
from node.runtime.peers import Address, Peers
from node.runtime.strikes import Strikes
from node.runtime.timekeeping import LogicalTime, PacedTime
from node.wire.credentials import Credentials


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What a node is told when it starts.

    Attributes:
        device, host: its name in the topology and its chassis.
        spec: what it emulates.
        target: where it listens, as gRPC names it.
        flash_folder: where its flash tiers lie.
        epoch: instant of the monotonic clock that is device time 0 [s].
        dilation: wall time over device time; None without pacing.
        peers: the other nodes.
        links: capacity of every direction of every link [bytes/s].
        arbiter: where the arbiter listens; "" without pacing.
        credentials: what callers must show and what this node shows; None on one machine.
        sharing: devices that its process carries.
        share_memory: whether memory of peers in the same chassis is mapped; else everything travels by streams.
        take_over: whether to take flash folders from nodes that still hold them.
    """

    device: str
    host: str
    spec: DeviceSpec
    target: str
    flash_folder: Path
    epoch: float = 0.0
    dilation: float | None = None
    peers: Mapping[str, Address] = field(default_factory=dict)
    links: Mapping[str, float] = field(default_factory=dict)
    arbiter: str = ""
    credentials: Credentials | None = None
    share_memory: bool = True
    sharing: int = 1
    take_over: bool = False


class DeviceParts:
    """The memory, the counters, the events, the peers and the clock of one device.

    Attributes:
        config: what it was started with.
        store: its tiers and buffers.
        counters: what it has done.
        events: what has ended, here and on peers that said so.
        resources: its tiers and ports.
        strikes: what is wrong with it on purpose.
        peers: the other nodes.
        timekeeper: its clock.
        grants: shares of its ports and tiers for what peers push here; None without pacing.
    """

    def __init__(self, config: NodeConfig) -> None:
        """Opens the tiers.

        Raises:
            CorruptTier, BufferExists: of a flash folder.
        """
        self.config = config
        self.store = DeviceStore(
            config.device, config.spec, config.flash_folder, config.sharing, take_over=config.take_over
        )
        self.counters = Counters(config.spec)
        self.events = Events(config.device)
        self.resources = DeviceResources(config.device, config.spec)
        self.strikes = Strikes(config.device, self.resources)
        self.peers = Peers(
            config.device, config.host, config.peers, config.arbiter, config.credentials, config.share_memory
        )
        self.timekeeper: LogicalTime | PacedTime
        self.grants: GrantDesk | None
        self.set_clock(config.epoch)

    def set_clock(self, epoch: float) -> None:
        """Sets device time 0 and forgets what resources were booked for."""
        config, self.grants = self.config, None
        if config.dilation is None:
            self.timekeeper = LogicalTime()
        else:
            self.timekeeper = PacedTime(PacedClock(epoch, config.dilation))
            self.grants = GrantDesk(config.device, self.resources.by_name, self.timekeeper.pacer)
        for resource in self.resources.by_name.values():
            resource.forget()
