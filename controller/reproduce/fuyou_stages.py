"""Fuyou's figure 1, where the time of a stage goes, for `controller/reproduce/fuyou.py`; and what its parts cost.

Ours is each stage's plan executed alone, 13B at batch 32: the stages of a step follow one another, so that this is what
they do within it. Drives answer requests of the array one after the other, so that the time of all requests over the
number of drives is that for which the array is busy.

The paper simulates G10. Its forward and backward pass are those of Fuyou with every activation swapped to main memory
and the optimizer behind the backward pass, which overlaps less in the forward pass than that simulation assumes (see
`controller.offload.swapped`). Its optimizer, Adam on the GPU with states straight from the drives, is no variant
of a strategy here and is absent, as is its volume of states (182 GB a direction).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from controller.compare.prices import prices, purchase
from controller.execute.outcome import Outcome
from controller.execute.virtual import run_virtual
from controller.experiment.virtual import prepare, virtual_scenario
from controller.models.catalog import load_model
from controller.models.training_scenario import TrainingScenario
from controller.program.run import Program, Run
from controller.reproduce.fuyou_models import Ours, request
from controller.reproduce.rows import PublishedRow, Value
from controller.strategies import zero_infinity
from controller.strategies.fuyou import Fuyou
from controller.topology.loader import load_topology

MODEL, BATCH = "gpt-13b", 32
DRIVES = 12
EVERYTHING = "all swapped, serial"
"""Fuyou as it stands for G10."""
ALL_ACTIVATIONS = "1 TiB"
"""More than 13B has at this batch."""
FAR_IN_DRIVES = (
    "figure 1 has parameters and gradients pass at 8 to 10 GB/s in these stages, half of what the same drives give in "
    "Ratel's backward pass; the text does not say why"
)

PRICES = {"xeon_5320_2s": 14_098.0, "rtx_4090": 1_600.0, "p5510": 308.0, "a100_sxm_80": 14_177.0}
"""US dollars of a server without GPUs and drives, and of each of those (R table VII and section I)."""


@lru_cache(maxsize=16)
def stage_outcome(system: str, stage: str) -> Outcome:
    """The plan of one stage, executed alone.

    Args:
        system: ``fuyou``, ``zero_infinity`` or `EVERYTHING`.
        stage: ``forward``, ``backward`` or ``optimizer``.
    """
    asked = request("zero_infinity" if system == "zero_infinity" else "fuyou", MODEL, BATCH)
    if system == EVERYTHING:
        asked = replace(asked, options={"swap_activations": ALL_ACTIVATIONS, "order": "serial"})
    strategy, topology, shape = prepare(asked)
    scenario = virtual_scenario(asked, strategy, topology, shape)
    assert isinstance(scenario, TrainingScenario)
    model = zero_infinity.policy(scenario) if system == "zero_infinity" else Fuyou(scenario)
    plan = model.plans()[stage]

    def program(run: Run) -> Program:
        model.place(run)
        yield run.submit(plan, **({"step": 1} if "step" in plan.parameters else {}))

    outcome = run_virtual(topology, [program])
    assert outcome.ok, outcome.ended
    return outcome


def _labels_s(outcome: Outcome, *parts: str) -> float:
    """Time of all ops with one of `parts` in their label [s]."""
    return sum(times.time_s for times in outcome.op_times if any(part in times.label for part in parts))


def _kernels_s(outcome: Outcome) -> float:
    return next((use.busy_s for use in outcome.resources if use.name == "gpu0.stream"), 0.0)


def _drives_s(outcome: Outcome) -> float:
    return _labels_s(outcome, "ssd ") / DRIVES


def _copies_s(outcome: Outcome) -> float:
    ssd_s = _labels_s(outcome, "ssd ")
    return _labels_s(outcome, "parameters in", "gradients out", "activations in", "activations out", "gradients in",
                     "states in", "states out", "parameters out") - ssd_s  # fmt: skip


def _again_s(outcome: Outcome) -> float:
    """Recomputation; of the passes over attention scores half is of the forward pass that is repeated."""
    return _labels_s(outcome, " again") + _labels_s(outcome, "attention scores") / 2


def stage_rows() -> list[PublishedRow]:
    """Details of figure 1."""
    rows: list[PublishedRow] = []

    def add(system: str, stage: str, quantity: str, published: float, unit: str, ours: Ours) -> None:
        rows.append(
            PublishedRow(
                "stage_details", {"system": system, "stage": stage, "of": quantity}, quantity, published, unit, "P",
                ours, (), why=FAR_IN_DRIVES if "drives" in quantity else "",
            )
        )  # fmt: skip

    def of(system: str, stage: str) -> Outcome:
        return stage_outcome(system, stage)

    def out_bytes(system: str) -> float:
        uses = {use.name: use.amount for use in of(system, "forward").resources}
        return uses["gpu0.pcie-root>"]

    infinity, fuyou = "zero_infinity", "fuyou"
    add(infinity, "forward", "swapped", 13.0, "GB", lambda _: out_bytes(infinity) / 1e9)
    add(infinity, "forward", "swapping", 0.6, "s", lambda _: _labels_s(of(infinity, "forward"), "activations out"))
    add(infinity, "backward", "recomputation", 5.7, "s", lambda _: _again_s(of(infinity, "backward")))
    add(infinity, "backward", "recomputation_share", 22.0, "%",
        lambda _: 100 * _again_s(of(infinity, "backward")) / of(infinity, "backward").time_s)  # fmt: skip
    add(infinity, "backward", "kernels", 17.6, "s", lambda _: _kernels_s(of(infinity, "backward")))
    add(infinity, "backward", "copies", 3.18, "s", lambda _: _copies_s(of(infinity, "backward")))
    add(infinity, "backward", "drives", 6.25, "s", lambda _: _drives_s(of(infinity, "backward")))
    add(infinity, "optimizer", "drives_busy", 79.0, "%", _drives_busy(infinity, "optimizer"))
    rows.append(
        PublishedRow(
            "stage_details", {"system": infinity, "stage": "optimizer", "of": "gpu_link"}, "gpu_link", "idle", "", "P",
            lambda _: _gpu_link(of(infinity, "optimizer")), (), 0.0,
        )
    )  # fmt: skip
    add(fuyou, "forward", "swapping", 1.6, "s", lambda _: _labels_s(of(fuyou, "forward"), "activations out"))
    add(fuyou, "backward", "recomputation", 3.8, "s", lambda _: _again_s(of(fuyou, "backward")))
    add(fuyou, "backward", "recomputation_extra", 32.0, "%", lambda _: _extra(of(fuyou, "backward")))
    for stage, share in (("forward", 51.0), ("backward", 99.0)):
        add(fuyou, stage, "drives_busy", share, "%", _drives_busy(fuyou, stage))
    for stage, duration_s in (("forward", 10.0), ("backward", 12.0)):
        add("g10_simulated", stage, "duration", duration_s, "s", _duration(EVERYTHING, stage))
    add("g10_simulated", "forward", "swapping", 10.0, "s",
        lambda _: _labels_s(of(EVERYTHING, "forward"), "activations out"))  # fmt: skip
    add("g10_simulated", "forward", "kernels", 5.96, "s", lambda _: _kernels_s(of(EVERYTHING, "forward")))
    return rows


def _drives_busy(system: str, stage: str) -> Ours:
    """Share of a stage [%]."""
    return lambda _: 100 * _drives_s(stage_outcome(system, stage)) / stage_outcome(system, stage).time_s


def _duration(system: str, stage: str) -> Ours:
    return lambda _: stage_outcome(system, stage).time_s


def _gpu_link(outcome: Outcome) -> Value:
    moved = sum(use.amount for use in outcome.resources if use.name.startswith("gpu0.pcie"))
    return "idle" if not moved else f"busy with {moved:.0f} bytes"


def _extra(outcome: Outcome) -> float:
    """Recomputation over the rest of the kernels [%]."""
    again_s = _again_s(outcome)
    return 100 * again_s / (_kernels_s(outcome) - again_s)


def volume_rows(step: str) -> list[PublishedRow]:
    """What one step of 13B moves to and from the drives: 16 and 14 bytes a parameter."""
    parameters = load_model(MODEL).parameter_count
    row: dict[str, str | int | float] = {"model": "13b", "batch": BATCH}
    return [
        PublishedRow(
            "volumes", row, name, published, "GB", "D",
            _moved(step, side), (step,),
        )
        for side, name, published in (
            (0, "read_from_drives", round(16 * parameters / 1e9, 1)),
            (1, "written_to_drives", round(14 * parameters / 1e9, 1)),
        )
    ]  # fmt: skip


def _moved(step: str, side: int) -> Ours:
    """Read from (0) or written to (1) the drives [GB]."""
    return lambda results: results[step].flash_bytes[side] / 1e9


def price_rows() -> list[PublishedRow]:
    """Declared prices beside the published ones, and what the server of the other rows adds up to."""
    rows = [
        PublishedRow(
            "prices_declared", {"product": product}, "purchase", published, "USD", "P", _price(product), (),
        )
        for product, published in PRICES.items()
    ]  # fmt: skip

    def server(_: object) -> Value:
        topology = load_topology("server_4090")
        bill = purchase(topology, frozenset(topology.devices))
        return "unpriced: " + ", ".join(bill.unpriced) if bill.usd is None or bill.unpriced else bill.usd

    total = PRICES["xeon_5320_2s"] + PRICES["rtx_4090"] + DRIVES * PRICES["p5510"]
    rows.append(PublishedRow("prices_declared", {"product": "whole_server"}, "purchase", total, "USD", "D", server, ()))
    return rows


def _price(product: str) -> Ours:
    def ours(_: object) -> Value:
        usd = prices()[product].purchase_usd
        return "unpriced" if usd is None else usd

    return ours
