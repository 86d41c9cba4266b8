"""``windtunnel serve``: requests that arrive at a server, on the virtual clock."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click

from controller.cli.options import QuantityParam, catalog_option, json_option, named_values, overrides_option

if TYPE_CHECKING:
    from controller.experiment.serving_cost import ServingCost
    from controller.experiment.serving_run import ServingExperiment
    from controller.experiment.serving_spec import ServeSpec


@click.command()
@click.option("--topology", default="dgx_h100", show_default=True, help="A shipped name or a path ending in .yaml.")
@click.option("--model", required=True, help="A name (`windtunnel models`) or a Hugging Face config.json.")
@click.option("--scheduler", default="vllm", show_default=True, help="Names, comma between them; or file.py:function.")
@click.option("--requests", default="poisson:1/s", show_default=True,
              help="poisson:2.5/s, gamma:2.5/s,cv=4, burst:10/s,every=5s, closed:32, inf, or a file.")  # fmt: skip
@click.option("--lengths", default="", help="in=1024,out=256, lognormal:in=1155/1020,out=211/129, or a published name.")
@click.option("--num-prompts", type=int, help="Requests to draw, or to take of a file.  [default: 1000, or all]")
@click.option("--classes", default="", help="chat:0.9,priority=0,ttft=250ms;batch:0.1,priority=5")
@click.option("--slo", default="", help="Objective of every request: ttft=250ms,tpot=100ms (itl, e2e).")
@click.option("--attainment", type=float, default=0.9, show_default=True, help="Share of requests that has to meet it.")
@click.option("--find-rate", is_flag=True, help="Search the highest rate at which --slo is attained.")
@click.option("--instances", type=int, default=1, show_default=True, help="Replicas of the model.")
@click.option(
    "--cluster", default="", help="Policy of several instances: round_robin, least_loaded, llumnix, distserve, ..."
)
@click.option("--cluster-option", "cluster_options", multiple=True, metavar="NAME=VALUE",
              help="A number of the policy: prefill=1, prefill_tp=2, out=3. May be repeated.")  # fmt: skip
@click.option("--pp", type=int, default=1, show_default=True, help="Pipeline stages of an instance.")
@click.option("--ep", type=int, default=1, show_default=True, help="Devices that share the experts of an instance.")
@click.option("--tp", type=int, default=1, show_default=True, help="Tensor-parallel devices of an instance.")
@click.option("--max-num-seqs", type=int, help="Requests that run at once.  [default: the scheduler's]")
@click.option("--max-num-batched-tokens", type=int, help="Token budget of an iteration.  [default: the scheduler's]")
@click.option("--max-model-len", type=int, help="Cut longer requests to as many tokens.  [default: refuse them]")
@click.option("--kv-tokens", type=int, help="Tokens of the KV cache.  [default: as many as the devices have room for]")
@click.option("--host-kv-tokens", type=int, default=0, show_default=True,
              help="Tokens of cached prefixes that host memory keeps behind an instance.")  # fmt: skip
@click.option("--utilisation", type=float, default=0.9, show_default=True, help="Share of memory that a server takes.")
@click.option("--host-step", type=QuantityParam("s"), default="5 ms", show_default=True,
              help="Host time between two iterations (vLLM issue 6854).")  # fmt: skip
@click.option("--host-sequence", type=QuantityParam("s"), default="31.25 us", show_default=True,
              help="Host time for every request in an iteration.")  # fmt: skip
@click.option(
    "--surface", default="", help="Published times of an engine in place of the devices': sarathi_yi_34b, ..."
)
@click.option("--grain", type=int, default=8, show_default=True, help="Sizes executed an octave; 0 for every size.")
@click.option("--exact", type=int, default=2, show_default=True,
              help="Iterations executed whole, to say how far off the sum of parts is.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is drawn.")
@click.option("--save-detailed", is_flag=True, help="Put every request into --json.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.html",
              help="Write a report: attainment over rate, instances and KV occupancy over time.")  # fmt: skip
@click.option("--power-budget", type=QuantityParam("W"), help="Of all instances, kept by POLCA's clock caps: 3 kW.")
@click.option("--low-priority", type=int, default=0, show_default=True, help="Instances that it caps first.")
@click.option("--faults", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.yaml",
              help="Devices that die or become slow meanwhile (`windtunnel help faults`).")  # fmt: skip
@click.option("--live", is_flag=True, help="Answer on node processes, and compare every token with a plain run.")
@click.option("--http", metavar="HOST:PORT", help="Answer an OpenAI-compatible endpoint there until Ctrl-C.")
@click.option("--pace", type=float, help="Wall time over the server's time, for --http without --live.  [default: 1]")
@overrides_option
@catalog_option
@json_option
def serve(
    topology: str, model: str, scheduler: str, requests: str, lengths: str, num_prompts: int | None, classes: str,
    slo: str, attainment: float, find_rate: bool, instances: int, cluster: str,
    cluster_options: tuple[str, ...], pp: int, ep: int, tp: int, max_num_seqs: int | None,
    max_num_batched_tokens: int | None, max_model_len: int | None, kv_tokens: int | None,
    host_kv_tokens: int, utilisation: float, host_step: float, host_sequence: float, surface: str,
    grain: int, exact: int, seed: int, save_detailed: bool, report: Path | None,
    power_budget: float | None, low_priority: int, faults: Path | None, live: bool, http: str | None,
    pace: float | None,
    overrides: tuple[str, ...], catalog: tuple[Path, ...], as_json: bool,
) -> None:  # fmt: skip
    """Serve requests with SCHEDULER and print the block of vLLM's benchmark; --json has its keys.

    Iterations are plans of the model's blocks on the declared devices, executed once for every size.
    `windtunnel help serving` explains schedulers, requests and figures, and how to write a scheduler of your own.
    """
    from controller.cli.engine import load_engine
    from controller.errors import BadWorkload
    from controller.experiment.serving_run import find_serving_rate
    from controller.experiment.serving_run import serve as run_server
    from controller.experiment.serving_spec import ServeSpec
    from controller.faults.file import read_faults
    from controller.report.json_output import dumps
    from controller.report.progress import progress
    from controller.serving.requests.classes import read_slo

    names = [name.strip() for name in scheduler.split(",")]
    limits = {"max_requests": max_num_seqs, "budget_tokens": max_num_batched_tokens}
    for option, value in (("--max-num-seqs", max_num_seqs), ("--max-num-batched-tokens", max_num_batched_tokens)):
        if value is not None and value < 1:
            raise BadWorkload(f"{option} is {value}; at least 1 is needed")
    if not 0 < utilisation <= 1:
        raise BadWorkload(f"--utilisation is {utilisation:g}; write a share above 0 and at most 1")
    if min(grain, exact, host_kv_tokens) < 0:
        raise BadWorkload("--grain, --exact and --host-kv-tokens are 0 or more")
    bounds = read_slo(slo)
    broken = () if faults is None else read_faults(faults)
    chosen = {name: _number(name, value) for name, value in named_values(cluster_options, "--cluster-option").items()}
    if not 0 < attainment <= 1:
        raise BadWorkload(f"--attainment is {attainment:g}; write a share above 0 and at most 1")
    specs = [
        ServeSpec(
            model, topology, name, requests, lengths, num_prompts, cluster, instances, tp, pp, ep, slo=bounds,
            utilisation=utilisation, host_step_s=host_step, host_sequence_s=host_sequence,
            limits={key: value for key, value in limits.items() if value is not None}, kv_tokens=kv_tokens,
            grain=grain, seed=seed, overrides=overrides, catalog=catalog, classes=classes, exact=exact,
            cluster_options=chosen, max_model_len=max_model_len, faults=broken, host_kv_tokens=host_kv_tokens,
            surface=surface, power_budget_w=power_budget or 0.0, low_priority=low_priority,
        )
        for name in names
    ]  # fmt: skip
    if report is not None and not report.absolute().parent.is_dir():
        raise BadWorkload(f"--report {report}: there is no folder {report.absolute().parent}; make it first")
    if live and surface:
        raise BadWorkload("--surface has times and no tensors: remove it, or --live")
    if power_budget is not None and (live or http is not None or power_budget <= 0):
        raise BadWorkload("--power-budget is a power above 0 W of a virtual run that ends: change or remove it")
    if live and find_rate:
        raise BadWorkload("--find-rate serves the same requests at many rates: remove it, or --live")
    if http is None and pace is not None:
        raise BadWorkload("--pace stretches the times of an endpoint: add --http HOST:PORT, or remove it")
    load_engine()
    if http is not None:
        _serve_http(specs, http, live=live, pace=pace, refused={
            "--find-rate": find_rate, "--report": report is not None, "--json": as_json, "--slo": bool(slo),
            "--save-detailed": save_detailed,
        })  # fmt: skip
        return
    found, rates, checked = [], [], []
    with progress() as tell:
        for spec in specs:
            if find_rate:
                rate, run = find_serving_rate(spec, attainment, tell)
                rates.append(rate)
                found.append(run)
            elif live:
                from controller.experiment.serving_live import serve_live

                run, answers = serve_live(spec, tell)
                found.append(run)
                checked.append(answers)
            else:
                found.append(run_server(spec, tell))
    if report is not None:
        from controller.report.serving_page import write_serving_report

        write_serving_report(found, rates, report)
    if as_json:
        from controller.experiment.serving_json import serving_json

        objects = [serving_json(each, save_detailed) for each in found]
        for made, rate in zip(objects, rates, strict=False):
            made["found_rate"] = asdict(rate)
        for made, answers in zip(objects, checked, strict=False):
            made["values"] = answers.to_json(save_detailed)
        for made, each in zip(objects, found, strict=True):
            made["cost"] = _cost(each).to_json()
        click.echo(dumps(objects[0] if len(objects) == 1 else objects))
        return
    for index, each in enumerate(found):
        _print(each, checked[index].line if checked else "none: no tensor was computed")
        if rates:
            click.echo(
                f"highest rate with {attainment:.0%} of the requests within the objective: "
                f"{rates[index].rate_per_s:.4g}/s ({rates[index].attained_ratio:.1%} there, {len(rates[index].tried)} "
                f"rates tried)\n"
            )


def _serve_http(
    specs: list[ServeSpec], address: str, *, live: bool, pace: float | None, refused: dict[str, bool]
) -> None:
    from controller.errors import BadWorkload
    from controller.experiment.serving_http import serve_http

    for option, given in refused.items():
        if given:
            raise BadWorkload(f"{option} is of a run that ends, and --http serves until Ctrl-C: remove one of them")
    if len(specs) > 1:
        raise BadWorkload(f"--http serves one scheduler, and {len(specs)} are named; choose one")
    if live and specs[0].faults:
        raise BadWorkload("--faults are of the server's clock, which an idle live server has none of: remove --faults")
    if live and pace is not None:
        raise BadWorkload("--live answers as fast as its nodes compute: remove --pace")
    serve_http(
        specs[0], address, lambda text: click.echo(text, err=True), live=live, pace=1.0 if pace is None else pace
    )


def _number(name: str, value: str) -> float:
    from controller.errors import BadWorkload

    try:
        return float(value)
    except ValueError:
        raise BadWorkload(
            f"--cluster-option {name}={value}: {value!r} is no number; write one, as in prefill=1"
        ) from None


def _cost(found: ServingExperiment) -> ServingCost:
    from controller.compare.prices import rent
    from controller.experiment.serving_cost import serving_cost, serving_devices

    bill = rent(found.topology, frozenset(name for devices in serving_devices(found) for name in devices))
    return serving_cost(found, None if bill.unpriced else bill.usd)


def _print(found: ServingExperiment, values: str) -> None:
    from controller.experiment.serving_json import instance_lines
    from controller.serving.benchmark_text import benchmark_text

    spec = found.spec
    click.echo(
        f"{found.scheduler.name} on {found.placed} devices of {found.topology.name}, "
        f"{found.shape.name}, {found.stream.name}"
    )
    click.echo(benchmark_text(found.metrics))
    if found.metrics.attained_ratio is not None:
        parts = ", ".join(f"{name} {ratio:.1%}" for name, ratio in found.metrics.by_bound.items())
        click.echo(f"SLO attainment: {found.metrics.attained_ratio:.1%} ({parts})")
    for line in instance_lines(found):
        click.echo(line)
    if found.grain_error is not None:
        click.echo(
            f"{found.plans_executed} plans executed (grain {spec.grain}); {len(found.audited)} whole iterations differ "
            f"from the sum of their parts by at most {found.grain_error:.2%}"
        )
    cluster = found.cluster
    if cluster is not None:
        moves = cluster.moves
        middle = median(moves.downtimes_s) * 1e3 if moves.downtimes_s else 0.0
        click.echo(
            f"{cluster.entry.name}: {moves.migrations} requests moved ({moves.moved_tokens} tokens, median downtime "
            f"{middle:.3g} ms), {moves.aborted} given up; "
            f"{cluster.on_s / max(found.time_s, 1e-9):.2f} instances on average"
        )
    if line := _cost(found).line:
        click.echo(line)
    if found.power is not None:
        click.echo(
            f"POLCA: peak {found.power.peak_ratio:.1%} of the power budget, {found.power.commands} commands, "
            f"{found.power.brakes} brakes, {found.power.capped_s:.0f} s capped"
        )
    outages = found.outages
    if outages is not None:
        click.echo(
            f"faults: {outages.lost_blocks} KV blocks lost, {outages.resent} requests sent again, {outages.lost} lost "
            f"with their instance, {outages.refused} refused"
        )
    for note in found.notes:
        click.echo(f"note: {note}")
    click.echo(f"values {values}")
    click.echo(f"time {found.time_s:.3f} s virtual, {found.wall_s:.2f} s of wall time\n")
