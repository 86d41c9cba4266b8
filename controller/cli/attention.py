"""``windtunnel attention``: one long prompt over several devices, by ring, striped or zigzag attention or TokenRing."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.options import catalog_option, json_option, node_timeout_option, overrides_option

if TYPE_CHECKING:
    from controller.collectives.attention.measure import MeasuredAttention
    from controller.collectives.group import Group
    from controller.program.run import ProgressSink
    from controller.topology.schema import Topology

MOST_LIVE_FLOP = 10**11
"""Of one call that this machine computes twice, once on the nodes and once for the comparison [FLOP]."""


@click.command()
@click.argument("schemes", metavar="[SCHEME]...", nargs=-1)
@click.option("--topology", default="dgx_h100", show_default=True, help="A shipped name or a path ending in .yaml.")
@click.option(
    "--ranks", type=int, help="Number of GPUs (else NPUs, else CPUs) that take part, from the first.  [default: all]"
)
@click.option("--devices", help="The ranks by name instead, in order: gpu0,gpu2,gpu1.")
@click.option("--seq", "tokens", type=int, default=65536, show_default=True, help="Tokens of the whole sequence.")
@click.option("--heads", type=int, default=32, show_default=True, help="Query heads.")
@click.option("--kv-heads", type=int, help="Heads of K and V, each shared by heads / kv-heads.  [default: --heads]")
@click.option("--head-dim", type=int, default=128, show_default=True, help="Columns of a head.")
@click.option("--batch", type=int, default=1, show_default=True, help="Sequences side by side.")
@click.option("--causal/--no-causal", default=True, show_default=True, help="A token sees only what came before.")
@click.option("-d", "--dtype", default="bf16", show_default=True, help="bf16, fp16 or fp32.")
@click.option("--live/--virtual", "live", default=False, help="Compute real values on node processes and count #wrong.")
@node_timeout_option
@click.option("--seed", type=int, default=0, show_default=True, help="Of the values that are computed with.")
@overrides_option
@catalog_option
@json_option
def attention(
    schemes: tuple[str, ...],
    topology: str,
    ranks: int | None,
    devices: str | None,
    tokens: int,
    heads: int,
    kv_heads: int | None,
    head_dim: int,
    batch: int,
    causal: bool,
    dtype: str,
    live: bool,
    node_timeout_s: float,
    seed: int,
    overrides: tuple[str, ...],
    catalog: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Time every step of SCHEME (ring, striped, zigzag, token_ring; all of them), and with --live prove the values."""
    from controller.collectives.attention.call import AttentionCall
    from controller.collectives.attention.measure import connection_bytes_per_s, measure, prepare
    from controller.collectives.attention.table import SCHEMES
    from controller.collectives.errors import BadCall
    from controller.collectives.group import first_ranks, group_of, only
    from controller.errors import RunError
    from controller.execute.critical import PathRecord
    from controller.execute.path_shares import path_shares
    from controller.report.collective_lines import attention_lines, fastest
    from controller.report.progress import progress
    from controller.topology.loader import load_topology

    if seed < 0:
        raise BadCall(f"a seed of {seed}; write 0 or more")
    declared = load_topology(topology, overrides, catalog)
    if devices is not None and ranks is not None:
        raise BadCall("--ranks and --devices both say which devices take part: give one of them")
    group = first_ranks(declared, ranks) if devices is None else group_of(declared, devices.split(","))
    call = AttentionCall(
        group, tokens, heads, heads if kv_heads is None else kv_heads, head_dim, batch, causal, dtype,
        connection_bytes_per_s(declared),
    )  # fmt: skip
    names = tuple(dict.fromkeys(schemes)) or tuple(SCHEMES)
    entries = [prepare(call, name) for name in names]
    flop = 4 * tokens * tokens * heads * head_dim * batch
    if live and flop > MOST_LIVE_FLOP:
        raise BadCall(
            f"--live computes {flop:.3g} FLOP in double precision on this machine to compare with, more than "
            f"{MOST_LIVE_FLOP:.3g}; use a shorter --seq or fewer --heads"
        )
    bare = only(declared, group)
    records = {entry.scheme: PathRecord(overlap=False) for entry in entries}
    full = ""
    with progress() as tell:
        for done, entry in enumerate(entries):
            tell(done, len(entries), f"{entry.scheme} attention")
            outcome = measure(bare, entry, records[entry.scheme])
            if not outcome.ok:
                full = f"{entry.scheme}: {outcome.ended}"
                if outcome.ended.startswith("OOM at"):
                    break
                raise RunError(full)
        if live and not full:
            full = _prove(bare, group, entries, seed, tell, node_timeout_s)
    if full:  # a result, not a failure
        from controller.report.json_output import dumps

        click.echo(dumps({"config": {"args": sys.argv}, "ended": full, "results": []}) if as_json else full)
        return
    if as_json:
        _print_json(declared, entries, live, seed)
    else:
        best = fastest(entries)
        shares = path_shares(records[best.scheme].explain(), best.time_s or 0.0)
        click.echo(attention_lines(declared, entries, shares, live).text())
        click.echo()
        _print(declared, entries, live)
    if any(entry.wrong for entry in entries):
        raise click.exceptions.Exit(1)


def _prove(
    bare: Topology, group: Group, entries: list[MeasuredAttention], seed: int, tell: ProgressSink, node_timeout_s: float
) -> str:
    """Runs every call on node processes and writes into its entry how many elements are wrong; says what is full."""
    from controller.collectives.attention.measure import program_of
    from controller.errors import RunError
    from controller.execute.live import run_live
    from controller.execute.survey import survey
    from controller.launch import launch, preflight
    from controller.program.results import calls_of

    program = program_of(entries, seed)
    found = survey(bare, [program])
    if found.does_not_fit is not None:
        return str(found.does_not_fit)
    preflight(bare, found.peak_bytes)
    with launch(bare, needs=found.peak_bytes, node_timeout_s=node_timeout_s) as cluster:
        outcome = run_live(bare, [program], cluster, progress=tell)
    if not outcome.ok:
        raise RunError(outcome.ended)
    for entry, call in zip(entries, calls_of(outcome.result), strict=True):
        entry.wrong = call.wrong
    return ""


def _print(topology: Topology, entries: list[MeasuredAttention], live: bool) -> None:
    from controller.report.tables import quantity, say, show, table, without_empty

    call = entries[0].call
    heads = f"{call.heads} heads" + (f" on {call.kv_heads} of K and V" if call.kv_heads != call.heads else "")
    title = (
        f"{call.tokens:,} tokens, {heads} of {call.head_dim}, batch {call.batch}, {call.dtype}, "
        f"{'causal' if call.causal else 'not causal'}: {call.world_size} ranks of {topology.name}, "
        f"{'live' if live else 'virtual'}"
    )
    rows = [
        (
            entry.scheme,
            quantity(entry.time_s, "s"),
            quantity(sum(step.attention_s for step in entry.steps), "s"),
            quantity(sum(step.merge_s for step in entry.steps), "s"),
            quantity(entry.exposed_s, "s"),
            quantity(sum(step.sent_bytes for step in entry.steps) / call.world_size, "bytes"),
            entry.wrong,
        )
        for entry in entries
    ]
    say(title)
    columns = ["scheme", "total", "attention", "merge", "exposed", "sent by a rank", "#wrong"]
    show(without_empty(table(columns, rows)))
    columns = ["step", *(f"{entry.scheme}{what}" for entry in entries for what in ("", " exposed"))]
    steps = [
        (number, *(cell for entry in entries for cell in _step_cells(entry, number)))
        for number in range(max(len(entry.steps) for entry in entries))
    ]
    click.echo()
    say("time of each step, and how much of it is exposed: even the rank that computes longest only waits")
    show(table(columns, steps))


def _step_cells(entry: MeasuredAttention, number: int) -> tuple[str, str]:
    """Time of a step and what of it is exposed; a scheme may have fewer steps than another."""
    from controller.report.tables import quantity

    if number >= len(entry.steps):
        return quantity(None, "s"), quantity(None, "s")
    step = entry.steps[number]
    return quantity(step.time_s, "s"), quantity(step.exposed_s, "s")


def _print_json(topology: Topology, entries: list[MeasuredAttention], live: bool, seed: int) -> None:
    from controller.report.json_output import dumps

    call = entries[0].call
    document = {
        "config": {
            "args": sys.argv, "topology": topology.name, "topology_digest": topology.digest,
            "devices": list(call.group.devices), "tokens": call.tokens, "heads": call.heads,
            "kv_heads": call.kv_heads, "head_dim": call.head_dim, "batch": call.batch, "causal": call.causal,
            "dtype": call.dtype, "connection_bytes_per_s": call.connection_bytes_per_s or None, "live": live,
            "seed": seed,
        },
        "results": [
            {
                "scheme": entry.scheme,
                "time_s": entry.time_s,
                "exposed_s": entry.exposed_s,
                "steps": [{**asdict(step), "exposed_s": step.exposed_s} for step in entry.steps],
                "nwrong": entry.wrong,
            }
            for entry in entries
        ],
    }  # fmt: skip
    click.echo(dumps(document))
