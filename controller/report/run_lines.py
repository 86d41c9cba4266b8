"""The five lines of ``windtunnel run``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from controller.execute.outcome import Overflow
from controller.experiment.result import Experiment
from controller.models.scenario import Scenario
from controller.report.five_lines import FiveLines, bound_text, device_time, first_fitting
from controller.report.tables import number, quantity


def run_lines(experiment: Experiment) -> FiveLines:
    """What a finished run says first."""
    outcome = experiment.outcome
    ran = first_fitting(_what_ran(experiment))
    if not outcome.ok:
        nothing = "none: the run did not come to its end"
        bound = "what ended it" if outcome.shortages is None else first_fitting(_overflow(outcome.overflow))
        return FiveLines(ran, _why_not(experiment), nothing, bound, "not checked: no result to check")
    phases = [f"{name} {quantity(time_s, 's', 2)}" for name, time_s in outcome.phases.items()]
    return FiveLines(
        ran,
        device_time(outcome.time_s, phases),
        _throughput(experiment),
        bound_text(experiment.bound_by),
        first_fitting(_values(experiment)),
    )


def _what_ran(experiment: Experiment) -> Iterator[str]:
    """From the whole sentence to the shortest."""
    topology, shape, dtype = experiment.topology, experiment.shape.name, experiment.scenario.dtype
    executor = experiment.request.executor
    own = experiment.strategy.name.rpartition("/")[2]
    name = own if executor == "virtual" else f"{own}, {executor}"
    workload = _workload(experiment)
    counts = Counter(device.spec.product for device in topology.devices.values() if device.spec.kind != "cpu")
    devices = " + ".join(f"{count} {product}" if count > 1 else product for product, count in counts.items())
    yield f"{name}: {shape} in {dtype}, {workload}, on {topology.name} ({devices})"
    yield f"{name}: {shape} in {dtype}, {workload}, on {topology.name}"
    yield f"{name}: {shape}, {workload}, on {topology.name}"
    yield f"{name}: {shape}, {workload.split(',')[0]}, on {topology.name}"
    yield f"{name}: {shape} on {topology.name}"


def _workload(experiment: Experiment) -> str:
    scenario, options = experiment.scenario, experiment.request.options
    requests = options.get("requests", options.get("trace"))
    if requests is not None:
        return f"requests of {Path(requests).stem}"
    if isinstance(scenario, Scenario):
        return f"batch {scenario.batch}, {scenario.prompt_tokens} tokens in, {scenario.output_tokens} out"
    steps = f"{scenario.steps} steps" if scenario.steps > 1 else "1 step"
    return f"batch {scenario.batch} of {scenario.seq} tokens, {steps}"


def _why_not(experiment: Experiment) -> str:
    full = experiment.outcome.shortages
    if not full:
        return f"none: {experiment.outcome.ended}"
    first = full[0]
    place = f"{first.device}.{first.tier}"
    need, has = quantity(first.need_bytes, "bytes", 3), quantity(first.capacity_bytes, "bytes", 3)
    more = f", and {len(full) - 1} more" if len(full) > 1 else ""
    return f"none: out of memory: {place} holds {has}, the run needs {need}{more}"


def _overflow(overflow: Overflow | None) -> Iterator[str]:
    if overflow is not None:
        what = f"memory: no room for {overflow.what}"
        size = quantity(overflow.need_bytes, "bytes", 3)
        if overflow.line:
            yield f"{what} ({size}) of {overflow.line}"
            yield f"{what} ({size}) of {overflow.line.rpartition('/')[2]}"
            yield f"{what} of {overflow.line.rpartition('/')[2]}"
        yield f"{what} ({size})"
        if overflow.line:
            yield f"memory, asked for by {overflow.line.rpartition('/')[2]}"
    yield "memory"


def _throughput(experiment: Experiment) -> str:
    rate = experiment.tokens_per_s
    if rate is None:
        return "not told: the program reports no tokens"
    energy = experiment.energy
    text = f"{number(rate)} tokens/s"
    if energy is None or energy.joule_per_token is None:
        return text
    least = "at least " if energy.lower_bound else ""
    return f"{text}, {least}{quantity(energy.joule_per_token, 'J', 3)} a token"


def _values(experiment: Experiment) -> Iterator[str]:
    found = experiment.comparison
    if "rounded" in found:
        word = "checked" if found["values_equal"] else "WRONG"
        text = f"{word}: logits differ by {found['logit_error_ratio']:.2g} of their size"
        tolerance = found["logit_error_tolerance"]
        yield f"{text} from those of {found['reference']} ({found['rounded']}; tolerance {tolerance:.2g})"
        yield f"{text} from those of a plain run"
    elif "tokens_equal" in found:
        word = "checked" if found["tokens_equal"] == found["tokens_compared"] else "WRONG"
        text = f"{word}: {found['tokens_equal']} of {found['tokens_compared']} tokens equal"
        yield f"{text} those of {found['reference']}"
        yield f"{text} those of a plain run"
    elif "values_equal" in found:
        text = (
            "checked: losses and parameters equal"
            if found["values_equal"]
            else "WRONG: losses or parameters differ from"
        )
        yield f"{text} those of {found['reference']}"
        yield f"{text} those of a plain run"
    elif experiment.request.executor != "virtual":
        yield f"not checked: {found.get('not_compared', 'the program reports no values to compare')}"
        yield "not checked: the program reports no values to compare"
    else:
        yield "not checked: nothing was computed (--live computes, and compares)"
