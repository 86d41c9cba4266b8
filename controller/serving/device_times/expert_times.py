"""Times of iterations of an instance whose devices have requests of their own and share experts (DP attention, EP).

The requests that decode are spread evenly over the devices; prompts go to the device with the fewest tokens so far, the
longest first. Every layer ends with an exchange, so all wait for the busiest device: its attention is what is executed,
and the rows of experts are those of all tokens, evenly over the devices.
"""

from __future__ import annotations

from heapq import heapify, heapreplace

from controller.serving.device_times.expert_parts import ExpertParts
from controller.serving.device_times.grid import between, on_line
from controller.serving.device_times.times import GRAIN, DeviceTimes, HostCosts
from controller.serving.iteration_times import IterationLoad
from controller.topology.schema import Topology


class ExpertTimes(DeviceTimes):
    """Implements `IterationTimes` for a group of devices.

    Attributes:
        group_parts: plans of one device.
    """

    def __init__(self, topology: Topology, parts: ExpertParts, host: HostCosts, grain: int = GRAIN) -> None:
        super().__init__(topology, parts, host, grain)  # type: ignore[arg-type]
        self.group_parts, self._world = parts, len(parts.devices)

    def iteration_s(self, load: IterationLoad) -> float:
        """Duration of one iteration, the host's work of one device included [s]."""
        if not load.tokens:
            return self.host.step_s
        share = busiest(load, self._world)
        rows = share.rows + len(share.chunks)
        total = (
            self.host.step_s
            + self.host.sequence_s * rows
            + self._layers_s(share.tokens, share.rows + len(share.chunks))
        )
        total += self._mixtures_s(share.tokens, -(-load.tokens // self._world))
        if share.rows and share.context_tokens:
            total += self.decode_s(share.rows, share.context_tokens)
        return total + sum(self.chunk_s(tokens, before) for tokens, before in share.chunks)

    def decode_steps_s(self, rows: int, context_tokens: int, count: int) -> list[float]:
        """Durations of `count` steps of decoding that follow each other [s]."""
        own = -(-rows // self._world)
        mixtures_s = self._mixtures_s(own, own)
        return [step + mixtures_s for step in super().decode_steps_s(own, context_tokens // rows * own, count)]

    def _mixtures_s(self, sent: int, arrived: int) -> float:
        """Gate, exchange and experts of all layers that have some [s]."""
        key = "m", sent, arrived
        if key not in self._memo:
            low, high = between(sent, self.grain, self.parts.most_tokens)
            self._memo[key] = on_line(sent, low, high, lambda near: self._arriving_s(near, arrived))
        return self._memo[key]

    def _arriving_s(self, sent: int, arrived: int) -> float:
        low, high = between(arrived, self.grain, self.parts.most_tokens)
        return on_line(arrived, low, high, lambda near: self._mixture_node(sent, near))

    def _mixture_node(self, sent: int, arrived: int) -> float:
        key = "x", sent, arrived
        if key not in self._memo:
            parts = self.group_parts
            self._memo[key] = sum(
                count * self._further(lambda times, of=layer: parts.mixture(of, sent, arrived, times))
                for layer, count in parts.kinds if parts.experts.of_layer(layer)
            )  # fmt: skip
        return self._memo[key]


def busiest(load: IterationLoad, devices: int) -> IterationLoad:
    """What the device with the most tokens computes of an iteration."""
    rows = -(-load.rows // devices)
    context = load.context_tokens // load.rows * rows if load.rows else 0
    if not load.chunks:
        return IterationLoad(rows, context, padding_tokens=-(-load.padding_tokens // devices))
    fullest: list[tuple[int, int]] = [(0, number) for number in range(devices)]
    heapify(fullest)
    chunks: list[list[tuple[int, int]]] = [[] for _ in range(devices)]
    for chunk in sorted(load.chunks, reverse=True):
        tokens, number = fullest[0]
        chunks[number].append(chunk)
        heapreplace(fullest, (tokens + chunk[0], number))
    most = max(fullest, key=lambda each: (each[0], -each[1]))[1]
    padding = -(-load.padding_tokens // devices)
    return IterationLoad(rows, context, tuple(chunks[most]), len(chunks[most]), padding_tokens=padding)
