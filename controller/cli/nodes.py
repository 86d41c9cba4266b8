"""``windtunnel up | ps | down``: nodes that outlive the command that started them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.options import catalog_option, json_option, node_timeout_option, overrides_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.launch import RunningCluster


@click.command()
@click.argument("topology", metavar="NAME_OR_PATH")
@click.option("--name", default="", help="What `ps` and `down` call it.  [default: the topology's name]")
@click.option(
    "--pace", type=float, metavar="DILATION", help="Hold tiers, ports and compute to device speed / DILATION."
)
@click.option(
    "--flash-folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where flash tiers lie and stay when the nodes are stopped.  [default: they end with the nodes]",
)
@node_timeout_option
@click.option(
    "--bind",
    "address",
    metavar="ADDRESS",
    help="Listen on an IP address of this machine, with TLS and a token, instead of on sockets.  [extra: remote]",
)
@overrides_option
@catalog_option
@json_option
def up(
    topology: str,
    name: str,
    pace: float | None,
    flash_folder: Path | None,
    node_timeout_s: float,
    address: str | None,
    overrides: tuple[str, ...],
    catalog: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Start one process for each device of a topology and leave them running.

    What an earlier crash left under the same name is removed first. With --bind, a node answers only those who show a
    certificate of this run and its token; both lie in the run's directory, which only its user can read.
    """
    from controller.launch import listening_on, start_detached
    from controller.topology.loader import load_topology

    loaded = load_topology(topology, overrides, catalog)
    listening = None if address is None else listening_on(loaded, address)
    started = start_detached(
        loaded, name, pace=pace, flash_folder=flash_folder, listening=listening, node_timeout_s=node_timeout_s
    )
    _print([started], as_json)


@click.command()
@json_option
def ps(as_json: bool) -> None:
    """List the nodes that `up` started, with their processes."""
    from controller.launch import list_running

    _print(list_running(), as_json)


@click.command()
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Stop all of them.")
def down(names: tuple[str, ...], everything: bool) -> None:
    """Stop nodes that `up` started; without a name the only ones that are running."""
    from controller.launch import list_running, stop

    running = [cluster.name for cluster in list_running()]
    if names and everything:
        raise click.UsageError("give names or --all, not both")
    if not names and not everything and len(running) > 1:
        raise click.UsageError(f"several are running: {', '.join(running)}; name one, or say --all")
    if not names and not running:
        click.echo("nothing is running")
    for name in names or running:
        stop(name)
        click.echo(f"{name} stopped")


def _print(clusters: Sequence[RunningCluster], as_json: bool) -> None:
    from controller.report.json_output import dumps
    from controller.report.tables import show, table

    if as_json:
        click.echo(dumps([_document(cluster) for cluster in clusters]))
        return
    if not clusters:
        click.echo("nothing is running")
        return
    bound = any(cluster.targets for cluster in clusters)
    rows = [
        (cluster.name, device, kind, process, _state(cluster, device, alive), cluster.pace)
        + ((cluster.targets.get(device),) if bound else ())
        for cluster in clusters
        for device, kind, process, alive in cluster.devices
    ]
    show(table(("name", "device", "kind", "process", "state", "pace", *(("address",) if bound else ())), rows))


def _state(cluster: RunningCluster, device: str, alive: bool) -> str:
    return "stopped" if device in cluster.stopped else "running" if alive else "dead"


def _document(cluster: RunningCluster) -> dict[str, Any]:
    return {
        "name": cluster.name,
        "topology": cluster.topology,
        "source": cluster.source,
        "digest": cluster.digest,
        "overrides": cluster.overrides,
        "pace": cluster.pace,
        "directory": cluster.directory,
        "devices": [
            {
                "device": device,
                "kind": kind,
                "process": process,
                "alive": alive,
                "state": _state(cluster, device, alive),
            }
            | ({"address": cluster.targets[device]} if device in cluster.targets else {})
            for device, kind, process, alive in cluster.devices
        ],
    }
