"""``windtunnel run``: one strategy, on the virtual clock or live on node processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.fabric_options import fabric_options, faults_asked, with_routing
from controller.cli.options import catalog_option, json_option, node_timeout_option, overrides_option
from controller.cli.strategy_command import StrategyCommand, strategy_options

if TYPE_CHECKING:
    from controller.execute.critical import Explanation
    from controller.experiment.result import Experiment
    from controller.experiment.run_spec import RunSpec

SHOWN = 12
"""Resources and kinds of op that the tables show; --json has all."""

REPORT_MEANING = {"predicted_s": " (the planner's own prediction of a step [s], for the declared hardware)"}
"""What is said behind a value that a program reports, where its name alone could be taken for a result."""


EXECUTOR_TEXT = {"virtual": "virtual", "live": "live on node processes", "local": "local, in this process"}


@click.command(cls=StrategyCommand)
@strategy_options
@click.option("--live/--virtual", "live", default=False, help="On node processes with real tensors, or timed only.")
@click.option("--local", is_flag=True, help="With real tensors in this process, without nodes; time is virtual.")
@click.option("--pace", type=float, metavar="DILATION", help="Hold nodes to device speed, this much slower (--live).")
@node_timeout_option
@click.option("--ray", metavar="ADDRESS", help="Place node processes on a Ray cluster: auto, HOST:PORT (--live).")
@click.option("--prompt", help="A text to continue (--live, models with a tokenizer).")
@click.option(
    "--effective-context",
    type=float,
    metavar="TOKENS",
    help="Mean context that decode attention reads, instead of the real one (--virtual); the knob of `reproduce`.",
)
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a timeline for ui.perfetto.dev.",
)
@click.option("--explain", is_flag=True, help="Say why it takes its time: critical path, exposed and hidden transfers.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Write a report with timeline and occupancy, one file that opens offline.",
)
@fabric_options
@overrides_option
@catalog_option
@json_option
def run(
    as_json: bool,
    strategy_options: dict[str, str],
    routing: str | None,
    fail: tuple[str, ...],
    degrade: tuple[str, ...],
    faults: Path | None,
    overrides: tuple[str, ...],
    **asked: Any,
) -> None:
    """Run STRATEGY and print its time, what was busy, and (live) whether every value is right.

    `windtunnel strategies` lists the strategies with their options, `windtunnel models` the models. Running out of
    memory is a result (exit code 0); wrong input is 2; a run that fails, or tokens that differ, is 1.
    """
    from controller.experiment.run_spec import RunSpec

    _refuse_a_stream(asked["trace"])
    changed = with_routing(overrides, routing)
    broken = faults_asked(faults, fail, degrade)
    _run(RunSpec(**asked, overrides=changed, faults=broken, options=strategy_options), as_json)


def _run(request: RunSpec, as_json: bool) -> None:
    from controller.cli.engine import load_engine
    from controller.clock import process_age_s
    from controller.experiment.run import run_experiment
    from controller.report.json_output import dumps
    from controller.report.progress import progress

    load_engine()
    before_s = process_age_s()
    with progress() as tell:
        experiment = run_experiment(request, progress=tell)
    if request.live or request.local:
        experiment.phases_wall_s = {"import": before_s, **experiment.phases_wall_s}
    if request.trace is not None and experiment.trace is not None:
        from controller.report.chrome_trace import write_chrome_trace

        written = write_chrome_trace(experiment.trace, request.trace, tuple(experiment.topology.devices))
        if written.dropped_count:
            click.echo(
                f"trace: the first {written.span_count} spans were kept, {written.dropped_count} more left out",
                err=True,
            )
    if request.report is not None:
        from controller.report.html import write_run_report

        write_run_report(experiment, request.report)
    if as_json:
        click.echo(dumps(experiment.to_json()))
    else:
        _print(experiment)
    if "tokens_equal" in experiment.comparison:
        found = experiment.comparison
        if found["tokens_equal"] != found["tokens_compared"]:
            raise click.exceptions.Exit(1)
    if not experiment.comparison.get("values_equal", True):
        raise click.exceptions.Exit(1)


def _refuse_a_stream(trace: Path | None) -> None:
    """Refuses a request stream that is named where the file of the timeline is."""
    from controller.errors import BadWorkload
    from controller.workload.lengths import TRACES

    if trace is not None and str(trace) in TRACES:
        raise BadWorkload(
            f"--trace {trace}: --trace names the file for the timeline; write --requests {trace} for the stream of "
            f"requests, or --trace {trace}.json for the timeline"
        )


def _print(experiment: Experiment) -> None:
    from controller.cli.context_note import context_note
    from controller.report.link_changes import change_text
    from controller.report.tables import percent, quantity, show, table

    outcome, scenario = experiment.outcome, experiment.scenario
    rate = experiment.tokens_per_s
    facts: list[tuple[str, str]] = [
        (
            "strategy",
            f"{experiment.strategy.name}, {EXECUTOR_TEXT[experiment.request.executor]}",
        ),
        ("topology", f"{experiment.topology.name} ({', '.join(experiment.topology.devices)})"),
        ("model", f"{experiment.shape.name} in {scenario.dtype}"),
        ("workload", scenario.workload_text()),
        *((("context", context),) if (context := context_note(experiment)) else ()),
        *(("machine", f"{host} on {label}") for host, label in experiment.comparison.get("machines", {}).items()),
        ("outcome", outcome.ended),
        ("time", quantity(outcome.time_s, "s")),
    ]
    facts += [(f"  {phase}", quantity(time_s, "s")) for phase, time_s in outcome.phases.items()]
    facts += [
        (f"  {name}", f"{value}{REPORT_MEANING.get(name, '')}") for name, value in outcome.short_reports().items()
    ]
    facts += [("link", change_text(change)) for change in outcome.link_changes]
    if outcome.paced_s is not None:
        ratio = outcome.paced_s / outcome.time_s - 1 if outcome.time_s else None
        facts.append(
            ("paced time", f"{quantity(outcome.paced_s, 's')} ({percent(ratio)}), {outcome.overruns} overruns")
        )
    facts += [
        ("throughput", "-" if rate is None else f"{rate:.4g} tokens/s"),
        ("wall time", _wall_text(experiment)),
    ]
    if outcome.resources:
        top = outcome.resources[0]
        facts.append(("busiest", f"{top.name}, {top.busy_ratio:.1%} of the time"))
    show(table(("run", ""), facts))
    if outcome.resources:
        rows = [
            (use.name, use.kind, quantity(use.busy_s, "s"), f"{use.busy_ratio:.1%}")
            for use in outcome.resources[: None if experiment.request.explain else SHOWN]
        ]
        show(table(("resource", "kind", "busy", "share"), rows, "what was busy"))
        _print_ops(experiment)
        _print_energy(experiment)
    if experiment.request.explain and experiment.explanation is not None:
        _print_explanation(experiment.explanation)
    _print_flash(experiment)
    _print_values(experiment)
    if experiment.request.trace is not None:
        click.echo(f"trace: {experiment.request.trace} (open it in ui.perfetto.dev)")
    if experiment.request.report is not None:
        click.echo(f"report: {experiment.request.report} (open it in a browser)")


def _wall_text(experiment: Experiment) -> str:
    """The wall time, of a live command with all of its phases."""
    from controller.report.tables import quantity

    phases = experiment.phases_wall_s
    if not phases:
        return quantity(experiment.outcome.wall_s, "s")
    parts = ", ".join(f"{name} {quantity(time_s, 's', 2)}" for name, time_s in phases.items())
    return f"{quantity(sum(phases.values()), 's', 3)} ({parts})"


def _print_ops(experiment: Experiment) -> None:
    from controller.report.tables import percent, quantity, show, table

    outcome = experiment.outcome
    paced = outcome.paced_s is not None
    columns = ("op", "count", "time", *(("paced", "difference") if paced else ()))
    rows: list[tuple[Any, ...]] = []
    for entry in outcome.op_times[: None if paced else SHOWN]:
        row: tuple[Any, ...] = (entry.label, entry.count, quantity(entry.time_s, "s"))
        if paced:
            known = entry.paced_s is not None and entry.time_s > 0
            ratio = entry.paced_s / entry.time_s - 1 if known and entry.paced_s is not None else None
            row += (quantity(entry.paced_s, "s"), percent(ratio))
        rows.append(row)
    show(table(columns, rows, "time by kind of op"))


def _print_energy(experiment: Experiment) -> None:
    from controller.report.tables import quantity, show, table

    energy = experiment.energy
    if energy is None:
        return
    rows = [(each.device, *_activities(each.by_activity), quantity(each.energy_j, "J")) for each in energy.devices]
    if rows:
        show(table(("device", "idle", "computing", "moving bytes", "energy"), rows, "energy"))
        per_token = energy.joule_per_token
        least = "at least " if energy.lower_bound else ""
        total = f"energy per run: {least}{quantity(energy.energy_j, 'J')}"
        click.echo(total + ("" if per_token is None else f", {quantity(per_token, 'J')} a token"))
    bounded = [each.device for each in energy.devices if each.lower_bound]
    if bounded:
        click.echo(f"idle power unknown, so counted while busy only: {', '.join(bounded)}")
    if energy.left_out:
        click.echo(f"no power known, or none while they do nothing, so left out: {', '.join(energy.left_out)}")


def _activities(parts: Mapping[str, float]) -> tuple[str, ...]:
    from controller.report.tables import quantity

    return tuple(quantity(parts[name], "J") if name in parts else "-" for name in ("idle", "compute", "move"))


def _print_flash(experiment: Experiment) -> None:
    from controller.execute.flash_traffic import wear_ratio
    from controller.report.tables import quantity, show, table

    rows = []
    for name, use in experiment.outcome.flash.items():
        wear = wear_ratio(experiment.topology, name, use.written_bytes)
        read, written = quantity(use.read_bytes, "bytes"), quantity(use.written_bytes, "bytes")
        rows.append((name, read, written, "-" if wear is None else f"{wear:.2e}"))
    if rows:
        show(table(("flash", "read", "written", "share of rated life"), rows, "flash"))


def _print_explanation(why: Explanation) -> None:
    from controller.report.tables import quantity, show, table

    def share(part_s: float, whole_s: float) -> str:
        return f"{part_s / whole_s:.1%}" if whole_s > 0 else "-"

    rows = [
        (
            entry.kind, entry.where, entry.label, entry.count, quantity(entry.time_s, "s"),
            share(entry.time_s, why.path_s), quantity(entry.alone_s, "s"),
        )
        for entry in why.path[:SHOWN]
    ]  # fmt: skip
    show(table(("kind", "where", "op", "count", "on the path", "share", "alone"), rows, "critical path"))
    show(
        table(
            ("", "time", "share"),
            (
                ("computing", quantity(why.compute_s, "s"), "-"),
                ("transferring", quantity(why.transfer_s, "s"), "-"),
                ("  hidden behind compute", quantity(why.hidden_s, "s"), share(why.hidden_s, why.transfer_s)),
                ("  exposed", quantity(why.exposed_s, "s"), share(why.exposed_s, why.transfer_s)),
            ),
            "overlap",
        )
    )


def _print_values(experiment: Experiment) -> None:
    found = experiment.comparison
    if "text" in found:
        click.echo(f"\n{found['prompt']}{found['text']}\n")
    if "tokens_equal" in found:
        click.echo(f"tokens equal: {found['tokens_equal']}/{found['tokens_compared']} (against {found['reference']})")
        click.echo(f"largest logit difference: {found['max_logit_difference']:.2e}")
    if "not_compared" in found:
        click.echo(found["not_compared"])
    if "values_equal" in found:
        word = "yes" if found["values_equal"] else "NO"
        click.echo(f"losses and parameters equal: {word} (against {found['reference']})")
        for step, (ours, plain) in enumerate(zip(found["losses"], found["reference_losses"], strict=False)):
            click.echo(f"  step {step + 1}: loss {ours:.6f}, plain {plain:.6f}")
        tolerance = found["loss_tolerance"]
        click.echo(f"largest loss difference: {found['max_loss_difference']:.2e} (tolerance {tolerance:.1e})")
        worst, tolerance = found["max_parameter_difference"], found["parameter_tolerance"]
        click.echo(
            "the program reported no parameters"
            if worst is None
            else f"largest parameter difference: {worst:.2e} (tolerance {tolerance:.1e})"
        )
