"""``windtunnel run``: one strategy, on the virtual clock or live on node processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.fabric_options import fabric_options, faults_asked, with_routing
from controller.cli.format_options import format_options
from controller.cli.options import catalog_option, json_option, node_timeout_option, overrides_option
from controller.cli.strategy_command import StrategyCommand, strategy_options

if TYPE_CHECKING:
    from controller.experiment.result import Experiment
    from controller.experiment.run_spec import RunSpec


@click.command(cls=StrategyCommand)
@strategy_options
@click.option("--live/--virtual", "live", default=False, help="On node processes with real tensors, or timed only.")
@click.option("--local", is_flag=True, help="With real tensors in this process, without nodes; time is virtual.")
@click.option("--pace", type=float, metavar="DILATION", help="Hold nodes to device speed, this much slower (--live).")
@node_timeout_option
@click.option("--ray", metavar="ADDRESS", help="Place node processes on a Ray cluster: auto, HOST:PORT (--live).")
@format_options
@click.option(
    "--expert-capacity",
    metavar="FACTOR",
    help="Most tokens of an expert in a pass over its even share, the rest dropped; none drops nothing.",
)
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
@click.option("--details", is_flag=True, help="Print the facts of the run, what was busy, ops, energy and flash, too.")
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
def run(as_json: bool, details: bool, **asked: Any) -> None:
    """Run STRATEGY and print its time, throughput, what bounds it, and (live) whether every value is right.

    `windtunnel strategies` lists the strategies with their options, `windtunnel models` the models. Running out of
    memory is a result (exit code 0); wrong input is 2; a run that fails, or tokens that differ, is 1.
    """
    _run(run_spec(**asked), as_json, details)


def run_spec(
    strategy_options: dict[str, str],
    routing: str | None,
    fail: tuple[str, ...],
    degrade: tuple[str, ...],
    faults: Path | None,
    overrides: tuple[str, ...],
    **asked: Any,
) -> RunSpec:
    """The request that the words of the command make."""
    from controller.experiment.run_spec import RunSpec

    _refuse_a_stream(asked["trace"])
    changed = with_routing(overrides, routing)
    broken = faults_asked(faults, fail, degrade)
    return RunSpec(**asked, overrides=changed, faults=broken, options=strategy_options)


def _steps_warning(request: RunSpec) -> str:
    """How long the run takes at least, where that is long; "" for what is refused before it starts."""
    from controller.models.limits import MOST_STEPS, steps_warning
    from controller.strategies.entry import TRAINING
    from controller.strategies.table import lookup

    trains = lookup(request.strategy).task == TRAINING
    what, steps = ("training steps", request.steps) if trains else ("output tokens", request.output_tokens)
    return steps_warning(what, steps) if steps <= MOST_STEPS else ""


def _run(request: RunSpec, as_json: bool, details: bool) -> None:
    from controller.cli.engine import load_engine
    from controller.clock import process_age_s
    from controller.experiment.run import run_experiment
    from controller.report.json_output import dumps
    from controller.report.progress import progress

    load_engine()
    if warning := _steps_warning(request):
        click.echo(warning, err=True)
    before_s = process_age_s()
    with progress() as tell:
        experiment = run_experiment(request, progress=tell)
    if request.live or request.local:
        experiment.phases_wall_s = {"import": before_s, **experiment.phases_wall_s}
    if request.trace is not None and experiment.trace is not None:
        from controller.report.chrome_trace import write_chrome_trace

        critical = () if experiment.explanation is None else experiment.explanation.segments
        written = write_chrome_trace(experiment.trace, request.trace, tuple(experiment.topology.devices), critical)
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
        _print(experiment, details)
    if "tokens_equal" in experiment.comparison:
        found = experiment.comparison
        if found["tokens_equal"] != found["tokens_compared"] and "rounded" not in found:
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


def _print(experiment: Experiment, details: bool) -> None:
    from controller.cli.run_details import print_details, print_explanation
    from controller.report.link_changes import change_text, part_change_text
    from controller.report.run_lines import run_lines

    click.echo(run_lines(experiment).text())
    for note in experiment.shape.notes:
        click.echo(f"not modelled  {note}")
    if experiment.shape.experts is not None and not details:
        # Times of experts depend on how tokens fall on them, which no configuration says; details have every note.
        for note in experiment.outcome.notes:
            click.echo(f"note        {note}")
    for change in experiment.outcome.link_changes:
        click.echo(f"link        {change_text(change)}")
    for change in experiment.outcome.part_changes:
        click.echo(f"part        {part_change_text(change)}")
    if details:
        click.echo()
        print_details(experiment)
    if experiment.request.explain and experiment.explanation is not None:
        click.echo()
        print_explanation(experiment.explanation)
    _print_values(experiment)
    if experiment.request.trace is not None:
        click.echo(f"trace: {experiment.request.trace} (open it in ui.perfetto.dev)")
    if experiment.request.report is not None:
        click.echo(f"report: {experiment.request.report} (open it in a browser)")


def _print_values(experiment: Experiment) -> None:
    found = experiment.comparison
    if "text" in found:
        click.echo(f"\n{found['prompt']}{found['text']}\n")
    if "tokens_equal" in found:
        click.echo(f"tokens equal: {found['tokens_equal']}/{found['tokens_compared']} (against {found['reference']})")
        click.echo(f"largest logit difference: {found['max_logit_difference']:.2e}")
    if "not_compared" in found:
        click.echo(found["not_compared"])
    if "fp32_logit_error_ratio" in found:
        error, equal = found["fp32_logit_error_ratio"], found["fp32_tokens_equal"]
        click.echo(f"against fp32: logits differ by {error:.2g} of their size, {equal} tokens equal")
    if "rounded" in found:
        word = "yes" if found["values_equal"] else "NO"
        error, tolerance = found["logit_error_ratio"], found["logit_error_tolerance"]
        click.echo(
            f"rounded: {found['rounded']}; logits differ by {error:.2g} of their size (tolerance {tolerance:.2g})"
        )
        click.echo(f"logits within the tolerance: {word}")
    elif "values_equal" in found:
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
