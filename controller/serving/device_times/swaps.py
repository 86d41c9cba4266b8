"""Time of swapping KV blocks between a device and host memory: a plan of as many copies as there are pieces.

A paged cache has the keys and the values of each layer in a tensor of its own, so that a block, or a group of
contiguous ones, is two copies a layer. The copy queue of the device pays its launch for each (Llumnix, section 5,
counts 4,096 copies for 1K tokens of LLaMA-7B).
"""

from __future__ import annotations

from controller.errors import BadTopology
from controller.execute.virtual import VirtualRun
from controller.plan.ops import Buffer, View
from controller.plan.script import Script
from controller.topology.schema import Topology

COPIES = 64
"""Copies of the plan that is executed; more take as much longer."""


class SwapTimes:
    """Copies between one device and the host.

    Attributes:
        layers: of the model; a block is two pieces each.
        block_bytes: of a block over all layers on this device [bytes].
    """

    def __init__(self, topology: Topology, device: str, layers: int, block_bytes: int) -> None:
        self.layers, self.block_bytes, self._device = layers, block_bytes, device
        self._topology = topology
        hosts = [each.name for each in topology.devices.values() if "dram" in each.spec.tiers]
        if not hosts:
            raise BadTopology(
                f"topology {topology.name!r} declares no host memory (a tier dram) to swap KV blocks to; choose a "
                f"--topology with a CPU, such as offload_h100, or a scheduler that recomputes"
            )
        self._host = hosts[0]
        queues = topology.devices[device].spec.queues
        self._queue = next((name for name, queue in queues.items() if queue.kind == "copy"), "")
        self._memo: dict[int, float] = {}

    def swap_s(self, blocks: int, copies: int) -> float:
        """Time of `blocks` blocks in `copies` groups of contiguous ones [s]."""
        pieces = 2 * self.layers
        nbytes = max(1, blocks * self.block_bytes // (copies * pieces))
        # To a power of two, so that few sizes are executed; the bytes beyond count in proportion.
        near = 1 << max(0, nbytes.bit_length() - 1)
        return copies * pieces * self._copy_s(near) * max(1.0, nbytes / near)

    def _copy_s(self, nbytes: int) -> float:
        if nbytes not in self._memo:
            times = [self._timed(count, nbytes) for count in (1, COPIES + 1)]
            self._memo[nbytes] = (times[1] - times[0]) / COPIES
        return self._memo[nbytes]

    def _timed(self, count: int, nbytes: int) -> float:
        run, s = VirtualRun(self._topology), Script("swap")
        here, there = (
            Buffer(device, tier, "kv", "uint8", (count * nbytes,))
            for device, tier in ((self._device, "hbm"), (self._host, "dram"))
        )
        for buffer in (here, there):
            run.place(buffer, written=True)
        for piece in range(count):
            s.move(View(here, piece * nbytes, (nbytes,)), View(there, piece * nbytes, (nbytes,)), "swap out",
                   queue=self._queue)  # fmt: skip
        (done,) = run.advance([run.submit(s.plan()).number])
        return done.end_at - done.submitted_at
