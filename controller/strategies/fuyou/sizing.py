"""What Fuyou's planner is asked with: the hardware's rates, the model's activations, and the room that is left.

The paper's planner measures rates and times in a first step; here they follow from the declared devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.errors import BadWorkload
from controller.models.training import (
    Part,
    TrainingStage,
    activation_kinds,
    kind_flop,
    layer_forward_flop,
    lse_bytes,
    recompute_flop,
)
from controller.models.training.recipe import LSE
from controller.models.training_scenario import TrainingScenario
from controller.plan.bound import bind_attributes, tensor_type
from controller.plan.build import PlanBuilder
from controller.plan.ops import Kernel
from controller.strategies.fuyou.array import DriveArray
from controller.strategies.fuyou.on_gpu import OnGpu
from controller.strategies.fuyou.options import AUTO, FuyouOptions
from controller.strategies.fuyou.planner import Candidate, Choice, Rates, Work, choose
from controller.strategies.fuyou.swap import TURNS
from controller.topology.graph import routes_of
from node.hardware.cost import kernel_cost
from node.hardware.operations import complete_attributes, operation


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


def plan_swaps(
    scenario: TrainingScenario, gpus: Sequence[str], host: str, array: DriveArray, parts: Sequence[Part],
    memory_bytes: int, spill: bool,
) -> SwapPlan:  # fmt: skip
    """Asks the planner, or takes the volume that the user gives.

    Args:
        scenario: with the option ``swap_activations``.
        gpus: that share the work.
        host: the device whose memory activations go to.
        array: of drives.
        parts: of the model.
        memory_bytes: of main memory that activations may take [bytes].
        spill: whether what main memory cannot hold goes to the drives.

    Raises:
        BadWorkload: ``swap_activations`` is less than the inputs of the blocks.
    """
    shape, layers = scenario.shape, scenario.shape.layers
    candidates = offloading_order(scenario)
    between = activation_kinds(shape)["x"].nbytes(scenario.tokens, scenario.dtype)
    least, most = _admissible(scenario, gpus[0], parts, candidates)
    volume = FuyouOptions.of(scenario.options).swap_activations
    if volume is not None:
        _check_volume(volume, layers * between)
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


def offloading_order(scenario: TrainingScenario) -> tuple[Candidate, ...]:
    """Every kind but the inputs of the blocks by offloading benefit, work over bytes, largest first."""
    shape, batch, seq = scenario.shape, scenario.batch, scenario.seq
    kinds = {name: kind for name, kind in activation_kinds(shape).items() if name != "x"}
    sizes = {name: kind.nbytes(scenario.tokens, scenario.dtype) for name, kind in kinds.items()}
    sizes["attention"] += lse_bytes(shape, batch, seq)
    order = sorted(kinds, key=lambda name: -kind_flop(shape, name, batch, seq) / sizes[name])
    found: list[Candidate] = []
    saved: tuple[str, ...] = ()
    before = recompute_flop(shape, saved, batch, seq, whole_block=True)
    for name in order:
        names = (name, LSE) if name == "attention" else (name,)
        saved = (*saved, *names)
        after = recompute_flop(shape, saved, batch, seq, whole_block=True)
        found.append(Candidate(names, sizes[name], before - after))
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
    spec = scenario.topology.devices[gpu].spec
    stage = TrainingStage(scenario.shape, gpu, batch=scenario.batch, seq=scenario.seq, dtype=scenario.dtype)
    x, out = (stage.activation_buffer("x", name) for name in ("x", "out"))
    build = PlanBuilder("one block")
    stage.forward(build, 0, stage.layout.buffer(gpu, stage.tier, "weights", scenario.dtype), x, out)
    flop = time_s = 0.0
    for op in build.plan().ops:
        if isinstance(op, Kernel):
            entry = operation(op.op)
            attributes = complete_attributes(entry, bind_attributes(op.attributes, {}))
            inputs, outputs = (tuple(tensor_type(view, {}) for view in views) for views in (op.inputs, op.outputs))
            demand = entry.demand(inputs, outputs, attributes)
            tiers = [tuple(view.buffer.tier for view in views) for views in (op.inputs, op.outputs)]
            cost = kernel_cost(spec, demand, *tiers)
            flop, time_s = flop + demand.flop, time_s + cost.latency_s + cost.time_s
    return flop / time_s


def _admissible(
    scenario: TrainingScenario, gpu: str, parts: Sequence[Part], candidates: Sequence[Candidate]
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
    scenario: TrainingScenario, gpu: str, parts: Sequence[Part], candidates: Sequence[Candidate], counts: Sequence[int]
) -> int:
    """What a GPU holds when blocks keep these numbers of candidates [bytes]."""
    saves = {tuple(name for kind in candidates[:count] for name in kind.names) for count in counts}
    return OnGpu(scenario, gpu, 0, parts, tuple(sorted(saves))).nbytes


def _check_volume(volume: int, least_bytes: int) -> None:
    if volume < least_bytes:
        raise BadWorkload(
            f"option swap_activations is {volume} bytes and the inputs of the blocks alone are {least_bytes} bytes, "
            f"which are always swapped; write at least that, or {AUTO}"
        )
