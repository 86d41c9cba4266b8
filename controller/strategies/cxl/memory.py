"""The host memory of one fine-tuning run: its nodes, its tensor groups, and where every group lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from controller.errors import BadTopology, BadWorkload
from controller.models.training import Part
from controller.models.training_scenario import TrainingScenario
from controller.strategies.cxl.options import CxlFinetuneOptions
from controller.strategies.cxl.placement import PLACEMENTS, Group, Nodes
from controller.strategies.cxl.spread import Place, Spread, spread_group
from controller.topology.load_store import reaches
from controller.topology.schema import Device
from node.errors import BadQuantity
from node.hardware.operation import ITEM_BYTES
from node.hardware.units import parse

BUDGET = "cxl.dram_budget"
"""Option of a topology: DRAM that placements may use unless a run says otherwise."""
STATES = ("momentum", "variance", "master_gradients", "master_weights")
"""Groups of fp32 that the optimizer touches by load and store."""
PRIORITIES: Mapping[str, int] = {
    **dict.fromkeys(STATES, 1), "compute_weights": 2, "checkpoints": 3, "compute_gradients": 4,
}  # fmt: skip
_WHOLE_BYTES = 4 * len(PRIORITIES)
"""What a card keeps free, since a group comes in whole elements [bytes]."""


class HostMemory:
    """Where everything that is offloaded lies.

    Attributes:
        cpu: runs the optimizer.
        places: memory nodes, DRAM first.
        groups: of the model, in the order of allocation.
        parts: group to its spread for every part of the model.
        checkpoints: for every GPU and layer.
    """

    def __init__(self, scenario: TrainingScenario, parts: Sequence[Part], gpus: int) -> None:
        """Places every group.

        Raises:
            BadTopology: no CPU with DRAM.
            BadWorkload: an option that cannot be.
        """
        self.cpu, self.places, nodes = _nodes(scenario)
        shape, dtype = scenario.shape, scenario.dtype
        elements = sum(part.layout.elements for part in parts)
        saved = gpus * shape.layers * scenario.tokens * shape.hidden
        self.types = {name: "fp32" if name in STATES else dtype for name in PRIORITIES}
        self.groups = tuple(
            Group(name, ITEM_BYTES[self.types[name]] * (saved if name == "checkpoints" else elements), priority)
            for name, priority in PRIORITIES.items()
        )
        self.placed = PLACEMENTS[CxlFinetuneOptions.of(scenario.options).placement](self.groups, nodes)
        tensors = [(part.name, [prod(extents) for extents in part.layout.shapes.values()]) for part in parts]
        self.parts: dict[str, tuple[Spread, ...]] = {
            group: self._spread(group, tensors) for group in PRIORITIES if group != "checkpoints"
        }
        kept = self._spread(
            "checkpoints",
            [
                (f"gpu{gpu}.layers.{layer}", [scenario.tokens * shape.hidden])
                for gpu in range(gpus)
                for layer in range(shape.layers)
            ],
        )
        self.checkpoints = [kept[gpu * shape.layers : (gpu + 1) * shape.layers] for gpu in range(gpus)]

    def planned_bytes(self) -> dict[str, dict[str, int]]:
        """Group to its bytes on every node, as they are allocated; nodes are called ``device.tier`` [bytes]."""
        found: dict[str, dict[str, int]] = {}
        for group in self.groups:
            if group.name == "checkpoints":
                spreads: Sequence[Spread] = [one for some in self.checkpoints for one in some]
            else:
                spreads = self.parts[group.name]
            there = dict.fromkeys((f"{device}.{tier}" for device, tier in self.places), 0)
            for spread in spreads:
                for buffer in spread.buffers:
                    there[f"{buffer.device}.{buffer.tier}"] += buffer.nbytes
            found[group.name] = there
        return found

    def _spread(self, group: str, tensors: Sequence[tuple[str, Sequence[int]]]) -> tuple[Spread, ...]:
        return spread_group(group, tensors, self.types[group], self.places, self.placed[group])


def _nodes(scenario: TrainingScenario) -> tuple[str, list[Place], Nodes]:
    """The CPU, its memory nodes and what a placement may use of each."""
    topology = scenario.topology
    found = [device for device in topology.of_kind("cpu") if "dram" in device.spec.tiers and device.spec.compute_queue]
    if not found:
        raise BadTopology(f"topology {topology.name!r} has no cpu with DRAM; choose another --topology")
    cpu = found[0]
    cards = [card for card in topology.of_kind("cxl") if reaches(topology, cpu.name, card.name)]
    places = [(cpu.name, "dram"), *((card.name, next(iter(card.spec.tiers))) for card in cards)]
    room = [max(0, _capacity(card) - _WHOLE_BYTES) for card in cards]
    weights = CxlFinetuneOptions.of(scenario.options).weights
    return cpu.name, places, Nodes((_budget(scenario, cpu), *room), weights)


def _capacity(card: Device) -> int:
    return next(iter(card.spec.tiers.values())).capacity_bytes


def _budget(scenario: TrainingScenario, cpu: Device) -> int:
    """DRAM that the placement may use [bytes]."""
    capacity = cpu.spec.tiers["dram"].capacity_bytes
    options = CxlFinetuneOptions.of(scenario.options)
    if options.placement == "local_only":
        if options.dram_budget is not None:
            raise BadWorkload(
                f"--dram-budget {options.dram_budget} B limits the other placements; local_only puts everything "
                f"into DRAM, which "
                f"--set {cpu.group}.dram.capacity='100 GiB' limits"
            )
        return capacity
    if options.dram_budget is not None:
        return min(options.dram_budget, capacity)
    text = scenario.topology.options.get(BUDGET)
    if text is None:
        return capacity
    try:
        budget = int(parse(text, "bytes"))
    except BadQuantity as error:
        raise BadTopology(f"topology {scenario.topology.name!r}, option {BUDGET}: {error}") from error
    return min(budget, capacity)
