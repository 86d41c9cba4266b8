"""The benchmarks behind CXL-aware fine-tuning as plans: Adam on the CPU, and copies of GPUs.

Each is one plan on the declared host, executed on the virtual clock. Benchmarks repeat one step or one copy on the same
buffers, and their plans say so: Adam names the traffic since its operands were used last (`span`), copies to a card are
``absorbed`` by the cache of the host as far as it holds them. Training plans claim neither.
"""

from __future__ import annotations

from functools import lru_cache

from controller.execute.virtual import run_virtual
from controller.models.training import ADAM
from controller.offload.striped import Striped, common_pieces, striped_group
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan, View
from controller.plan.value import Place
from controller.program.run import Program, Run
from controller.topology.loader import load_topology
from controller.topology.schema import Topology

TOPOLOGY = "cxl_finetune"
DRAM, CARD = "dram", "cxl"
WORKING_SET_BYTES = 16
"""Of one element of fp32 Adam: parameter, gradient and two moments."""


@lru_cache(maxsize=4)
def host(gpus: int = 1) -> Topology:
    """The declared host with so many GPUs and one card."""
    return load_topology(TOPOLOGY, [f"gpu.count={gpus}"])


@lru_cache(maxsize=128)
def adam_ms(elements: int, dram: int, card: int) -> float:
    """One step over four fp32 tensors of `elements` [ms].

    Args:
        elements: of each tensor.
        dram, card: pages in turn on DRAM and on the card; 0 for none there.
    """
    build = PlanBuilder("adam")
    spreads = [_spread(name, elements, dram, card) for name in ("p", "g", "m", "v")]
    inputs: list[View] = []
    outputs: list[View] = []
    for p, g, m, v in common_pieces(0, elements, spreads):
        inputs += [p, g, m, v]
        outputs += [p, m, v]
    span = WORKING_SET_BYTES * elements
    build.kernel("adam_pieces", "cpu", inputs, outputs, **{**ADAM.attributes(2), "span": span})
    return 1e3 * _time_s(build.plan(), [buffer for spread in spreads for buffer in spread.buffers], host())


@lru_cache(maxsize=128)
def copy_bytes_per_s(nbytes: int, place: str, out: bool, gpus: int = 1, repeated: bool = True) -> float:
    """Rate of each of `gpus` copies of `nbytes` at once, from a GPU (`out`) or to it, from the call on [bytes/s].

    Args:
        nbytes: of each copy [bytes].
        place: ``dram`` or ``cxl``: where the buffers of the host lie.
        out: from the GPU to the host.
        gpus: that copy at once.
        repeated: over and over the same buffers, so that the cache of the host takes a part of what goes to a card.
    """
    build = PlanBuilder("copy")
    buffers: list[Buffer] = []
    for gpu in range(gpus):
        device = "cpu" if place == DRAM else "aic0"
        there = Buffer(device, place, f"host.{gpu}", "uint8", (nbytes,))
        here = Buffer(f"gpu{gpu}", "hbm", "copied", "uint8", (nbytes,))
        buffers += [there, here]
        source, target = (here, there) if out else (there, here)
        build.transfer(source, target, path="absorbed" if out and place == CARD and repeated else "")
    return nbytes / _time_s(build.plan(), buffers, host(gpus))


def _spread(name: str, elements: int, dram: int, card: int) -> Striped:
    nbytes = 4 * elements
    here = nbytes * dram // (dram + card) // 4 * 4
    places = (Place("cpu", DRAM), Place("aic0", CARD))
    return striped_group(name, [("tensor", [elements])], "fp32", places, (here, nbytes - here))[0]


def _time_s(plan: Plan, buffers: list[Buffer], topology: Topology) -> float:
    def program(run: Run) -> Program:
        for buffer in buffers:
            run.place(buffer, written=True)
        yield run.submit(plan)

    outcome = run_virtual(topology, [program])
    assert outcome.ok, outcome.ended
    return outcome.time_s
