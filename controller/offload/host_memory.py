"""The host memory of one fine-tuning run: its nodes, its tensor groups, and where every group lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated

from controller.errors import BadTopology, BadWorkload
from controller.models.training import Part
from controller.models.training_scenario import TrainingScenario
from controller.offload.group_placement import PLACEMENTS, Nodes, TensorGroup
from controller.offload.software_path import declared
from controller.offload.striped import Striped, striped_group
from controller.plan.value import Place
from controller.program.options import Choice, Options, Parsed, Size, option, whole_of
from controller.topology.load_store import reaches
from controller.topology.schema import Device
from node.hardware.operation import ITEM_BYTES
from node.hardware.units import format_quantity

BUDGET = "cxl.dram_budget"
"""Option of a topology: DRAM that placements may use unless a run says otherwise."""
STATES = ("momentum", "variance", "master_gradients", "master_weights")
"""Groups of fp32 that the optimizer touches by load and store."""
PRIORITIES: Mapping[str, int] = {
    **dict.fromkeys(STATES, 1), "compute_weights": 2, "checkpoints": 3, "compute_gradients": 4,
}  # fmt: skip
MOST_WEIGHT = 255
"""Pages in turn on one node: Linux keeps a weight of weighted interleaving in a byte."""
_WHOLE_BYTES = 4 * len(PRIORITIES)
"""What a card keeps free, since a group comes in whole elements [bytes]."""


def _read_weights(text: str) -> tuple[int, int]:
    dram, card = (whole_of(part, 1, MOST_WEIGHT) for part in text.split(":"))
    return dram, card


@dataclass(frozen=True)
class HostMemoryOptions(Options):
    """Where tensors lie; weights are pages on DRAM and on each card in turn."""

    placement: Choice = option("cxl_aware", "where offloaded tensors lie", choices=tuple(PLACEMENTS))
    weights: Annotated[
        tuple[int, int],
        Parsed(_read_weights, f"pages on DRAM and on each card in turn, both from 1 to {MOST_WEIGHT}, as 1:2"),
    ] = option("1:1", "pages in turn on DRAM and on each card where both are used, as 1:2")
    dram_budget: Size | None = option(
        None, "DRAM that the placement may use, as '100 GiB'", absent="option cxl.dram_budget of the topology"
    )


class HostMemory:
    """Where everything that is offloaded lies.

    Attributes:
        cpu: runs the optimizer, and its DRAM.
        places: memory nodes, DRAM first.
        groups: of the model, in the order of allocation.
        parts: group to its tensor for every part of the model.
        checkpoints: for every GPU and layer.
    """

    def __init__(
        self, scenario: TrainingScenario, parts: Sequence[Part], gpus: int, options: HostMemoryOptions
    ) -> None:
        """Places every group.

        Raises:
            BadTopology: no CPU with DRAM.
            BadWorkload: an option that cannot be.
        """
        self.cpu, self.places, nodes = _nodes(scenario, options)
        shape, dtype = scenario.shape, scenario.dtype
        elements = sum(part.layout.elements for part in parts)
        saved = gpus * shape.layers * scenario.tokens * shape.hidden
        self.types = {name: "fp32" if name in STATES else dtype for name in PRIORITIES}
        self.groups = tuple(
            TensorGroup(name, ITEM_BYTES[self.types[name]] * (saved if name == "checkpoints" else elements), priority)
            for name, priority in PRIORITIES.items()
        )
        self.placed = PLACEMENTS[options.placement](self.groups, nodes)
        tensors = [(part.name, [prod(extents) for extents in part.layout.shapes.values()]) for part in parts]
        self.parts: dict[str, tuple[Striped, ...]] = {
            group: self._striped(group, tensors) for group in PRIORITIES if group != "checkpoints"
        }
        kept = self._striped(
            "checkpoints",
            [
                (f"gpu{gpu}.layers.{layer}", [scenario.tokens * shape.hidden])
                for gpu in range(gpus)
                for layer in range(shape.layers)
            ],
        )
        self.checkpoints = [kept[gpu * shape.layers : (gpu + 1) * shape.layers] for gpu in range(gpus)]

    def planned_bytes(self) -> dict[str, dict[str, int]]:
        """TensorGroup to its bytes on every node, as they are allocated; nodes are called ``device.tier`` [bytes]."""
        found: dict[str, dict[str, int]] = {}
        for group in self.groups:
            if group.name == "checkpoints":
                tensors: Sequence[Striped] = [one for some in self.checkpoints for one in some]
            else:
                tensors = self.parts[group.name]
            there = dict.fromkeys(map(str, self.places), 0)
            for tensor in tensors:
                for buffer in tensor.buffers:
                    there[f"{buffer.device}.{buffer.tier}"] += buffer.nbytes
            found[group.name] = there
        return found

    def _striped(self, group: str, tensors: Sequence[tuple[str, Sequence[int]]]) -> tuple[Striped, ...]:
        return striped_group(group, tensors, self.types[group], self.places, self.placed[group])


def _nodes(scenario: TrainingScenario, options: HostMemoryOptions) -> tuple[Place, list[Place], Nodes]:
    """The CPU, its memory nodes and what a placement may use of each."""
    topology = scenario.topology
    found = [device for device in topology.of_kind("cpu") if "dram" in device.spec.tiers and device.spec.compute_queue]
    if not found:
        raise BadTopology(f"topology {topology.name!r} has no cpu with DRAM; choose another --topology")
    cpu = found[0]
    cards = [card for card in topology.of_kind("cxl") if reaches(topology, cpu.name, card.name)]
    places = [Place(cpu.name, "dram"), *(Place(card.name, next(iter(card.spec.tiers))) for card in cards)]
    room = [max(0, _capacity(card) - _WHOLE_BYTES) for card in cards]
    return places[0], places, Nodes((_budget(scenario, cpu, options), *room), options.weights)


def _capacity(card: Device) -> int:
    return next(iter(card.spec.tiers.values())).capacity_bytes


def _budget(scenario: TrainingScenario, cpu: Device, options: HostMemoryOptions) -> int:
    """DRAM that the placement may use [bytes]."""
    capacity = cpu.spec.tiers["dram"].capacity_bytes
    if options.placement == "local_only":
        if options.dram_budget is not None:
            raise BadWorkload(
                f"--dram-budget {format_quantity(options.dram_budget, 'bytes')} limits the other placements; "
                f"local_only puts everything into DRAM, which --set {cpu.group}.dram.capacity='100 GiB' limits"
            )
        return capacity
    if options.dram_budget is not None:
        return min(options.dram_budget, capacity)
    budget = declared(scenario.topology, BUDGET, "bytes")
    return capacity if budget is None else min(int(budget), capacity)
