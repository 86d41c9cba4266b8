"""Planner of activation swapping: asked with the hardware's rates, the model's activations, and the room that is left.

The paper's planner measures rates and times in a first step; here they follow from the declared devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from controller.errors import BadWorkload
from controller.models.training import Part
from controller.models.training.activations import (
    activation_kinds,
    kind_flop,
    layer_forward_flop,
    lse_bytes,
    recompute_flop,
)
from controller.models.training.layer import LSE
from controller.models.training.layout import layer_layout
from controller.models.training_scenario import TrainingScenario
from controller.offload.drive_array import DriveArray
from controller.offload.passing_gpu import PassingGpu
from controller.offload.scratch import Scratch, plans_of
from controller.offload.swap_choice import Choice, Rates, SwapCandidate, Work, choose
from controller.offload.swapped import TURNS
from controller.offload.training_gpu import TrainingGpu
from controller.plan.bound import bind_kernel
from controller.plan.ops import Kernel
from controller.plan.script import Script
from controller.program.options import Parsed
from controller.topology.graph import routes_of
from node.hardware.cost import kernel_cost
from node.hardware.units import PHYSICAL, parse

AUTO: Final = "auto"


def _read_volume(text: str) -> int | None:
    if text == AUTO:
        return None
    nbytes = parse(text, "bytes")
    if nbytes > PHYSICAL["bytes"][1]:
        raise ValueError(text)
    return int(nbytes)


Volume = Annotated[int | None, Parsed(_read_volume, f"a size, for example '34 GB', or {AUTO}")]
"""Option of a strategy: what leaves each GPU [bytes]; None for what the search finds."""


@dataclass(frozen=True, slots=True)
class SwapPlan:
    """What every block keeps outside of the GPU.

    Attributes:
        names: of each block: its input, then kinds in the order of their benefit.
        spilled: blocks, from the first on, that main memory has no room for.
        choice: the planner's.
    """

    names: tuple[tuple[str, ...], ...]
    spilled: int
    choice: Choice

    @property
    def figures(self) -> dict[str, float]:
        """What people are told."""
        return {
            "swapped_bytes": self.choice.swapped_bytes,
            "spilled_blocks": self.spilled,
            "recompute_flop": self.choice.recompute_flop,
            "predicted_s": self.choice.predicted.iteration_s,
        }


def plan_swaps(
    scenario: TrainingScenario, gpus: Sequence[str], host: str, array: DriveArray, parts: Sequence[Part],
    memory_bytes: int, *, spill: bool, volume: int | None,
) -> SwapPlan:  # fmt: skip
    """Asks the planner, or takes the volume that the user gives.

    Args:
        scenario: of the run.
        gpus: that share the work.
        host: the device whose memory activations go to.
        array: of drives.
        parts: of the model.
        memory_bytes: of main memory that activations may take [bytes].
        spill: whether what main memory cannot hold goes to the drives.
        volume: that leaves each GPU; None for the planner's choice [bytes].

    Raises:
        BadWorkload: the volume is less than the inputs of the blocks.
    """
    shape, layers = scenario.shape, scenario.shape.layers
    candidates = offloading_order(scenario)
    between = activation_kinds(shape)["x"].nbytes(scenario.tokens, scenario.dtype)
    least, most = _admissible(scenario, gpus[0], parts, candidates)
    inputs = layers * between
    if volume is not None and volume < inputs:
        raise BadWorkload(
            f"option swap_activations is {volume} bytes and the inputs of the blocks alone are {inputs} bytes, which "
            f"are always swapped; write at least that, or {AUTO}"
        )
    made = choose(
        rates_of(scenario, gpus[0], host, array),
        Work(model_forward_flop(scenario), sum(part.layout.elements for part in parts), len(gpus)),
        candidates[:most],
        layers=layers,
        between_bytes=between,
        recompute_flop=recompute_flop(shape, (), scenario.batch, scenario.seq, whole_block=True),
        memory_bytes=memory_bytes,
        least=least,
        volume_bytes=volume,
        limit_bytes=None if spill else memory_bytes,
    )
    names = tuple(("x", *(name for kind in candidates[:count] for name in kind.names)) for count in made.kinds)
    sizes = [between + sum(kind.nbytes for kind in candidates[:count]) for count in made.kinds]
    return SwapPlan(names, spilled_blocks([len(gpus) * size for size in sizes], memory_bytes) if spill else 0, made)


def spilled_blocks(sizes: Sequence[int], memory_bytes: int) -> int:
    """How many blocks, from the first on, keep their activations on the drives.

    Args:
        sizes: of what each block keeps, on all GPUs together; that of the last one stays on the GPU [bytes].
        memory_bytes: of main memory that is left for activations, and for the places that spilled ones pass [bytes].
    """
    left, spilled = sum(sizes[:-1]), 0
    while spilled < len(sizes) - 1 and left > memory_bytes - min(TURNS, spilled) * max(sizes):
        left -= sizes[spilled]
        spilled += 1
    return spilled


def offloading_order(scenario: TrainingScenario) -> tuple[SwapCandidate, ...]:
    """Every kind but the inputs of the blocks by offloading benefit, work over bytes, largest first."""
    shape, batch, seq = scenario.shape, scenario.batch, scenario.seq
    kinds = {name: kind for name, kind in activation_kinds(shape).items() if name != "x"}
    sizes = {name: kind.nbytes(scenario.tokens, scenario.dtype) for name, kind in kinds.items()}
    sizes["attention"] += lse_bytes(shape, batch, seq)
    order = sorted(kinds, key=lambda name: -kind_flop(shape, name, batch, seq) / sizes[name])
    found: list[SwapCandidate] = []
    saved: tuple[str, ...] = ()
    before = recompute_flop(shape, saved, batch, seq, whole_block=True)
    for name in order:
        names = (name, LSE) if name == "attention" else (name,)
        saved = (*saved, *names)
        after = recompute_flop(shape, saved, batch, seq, whole_block=True)
        found.append(SwapCandidate(names, sizes[name], before - after))
        before = after
    return tuple(found)


def model_forward_flop(scenario: TrainingScenario) -> float:
    """FLOP_f of one GPU: the blocks, and the logits [FLOP]."""
    shape = scenario.shape
    blocks = shape.layers * layer_forward_flop(shape, scenario.batch, scenario.seq)
    return blocks + 2.0 * scenario.tokens * shape.hidden * shape.vocab


def rates_of(scenario: TrainingScenario, gpu: str, host: str, array: DriveArray) -> Rates:
    """What the equations are asked with."""
    spec = scenario.topology.devices[gpu].spec
    hops = routes_of(scenario.topology).route(gpu, host).hops
    link = min(min(hop.link.forward_bytes_per_s, hop.link.backward_bytes_per_s) for hop in hops)
    port = spec.ports[hops[0].tail.port]
    link = min(link, port.read_bytes_per_s, port.write_bytes_per_s)
    return Rates(block_flop_per_s(scenario, gpu), link, array.read_bytes_per_s, array.write_bytes_per_s)


def block_flop_per_s(scenario: TrainingScenario, gpu: str) -> float:
    """THP_G: throughput of one block's forward pass on an idle GPU, which the paper measures [FLOP/s]."""
    spec, batch = scenario.topology.devices[gpu].spec, TrainingGpu(scenario, gpu)
    x, out = (batch.activation("x", name) for name in ("x", "out"))
    s = Script("one block")
    batch.forward(s, 0, layer_layout(scenario.shape).buffer(gpu, "hbm", "weights", scenario.dtype), x, out)
    flop = time_s = 0.0
    for op in s.plan().ops:
        if isinstance(op, Kernel):
            demand = bind_kernel(op, {}).demand()
            inputs, outputs = (tuple(view.buffer.tier for view in views) for views in (op.inputs, op.outputs))
            cost = kernel_cost(spec, demand, inputs, outputs)
            flop, time_s = flop + demand.flop, time_s + cost.latency_s + cost.time_s
    return flop / time_s


def _admissible(
    scenario: TrainingScenario, gpu: str, parts: Sequence[Part], candidates: Sequence[SwapCandidate]
) -> tuple[int, int]:
    """Fewest and most candidates, from the front, with which the GPU has room; (0, 0) when it never has."""
    capacity = scenario.topology.devices[gpu].spec.tiers["hbm"].capacity_bytes
    fits: list[int] = []
    for count in range(len(candidates) + 1):
        if gpu_bytes(scenario, gpu, parts, candidates, (count,)) <= capacity:
            fits.append(count)
    if not fits:
        return 0, 0
    least, most = fits[0], fits[0]
    # Blocks may differ by one candidate, so that every step in between must fit as well.
    while most + 1 in fits and gpu_bytes(scenario, gpu, parts, candidates, (most, most + 1)) <= capacity:
        most += 1
    return least, most


def gpu_bytes(
    scenario: TrainingScenario,
    gpu: str,
    parts: Sequence[Part],
    candidates: Sequence[SwapCandidate],
    counts: Sequence[int],
) -> int:
    """What a GPU holds when blocks keep these numbers of candidates [bytes]."""
    kept = list(dict.fromkeys(tuple(name for kind in candidates[:count] for name in kind.names) for count in counts))
    passing = PassingGpu(scenario, gpu, 0, parts, dict.fromkeys(name for names in kept for name in names))
    scratch = Scratch("sized")
    forward, backward = Script("forward", scratch), Script("backward", scratch)
    passing.embed(forward)
    gradient = passing.end(backward, scenario.shape.layers)
    for names in kept:
        passing.forward(forward, 0, names)
        passing.backward(backward, 0, gradient, names)
    plans_of({"forward": forward, "backward": backward})
    return sum(buffer.nbytes for buffer in (*passing.buffers, *scratch.buffers))
