"""``windtunnel topology check | show``."""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.options import catalog_option, json_option, overrides_option


@click.group()
def topology() -> None:
    """Check and show declared clusters."""


@topology.command()
@click.argument("names", metavar="NAME_OR_PATH...", nargs=-1, required=True)
@overrides_option
@catalog_option
@json_option
def check(names: tuple[str, ...], overrides: tuple[str, ...], catalog: tuple[Path, ...], as_json: bool) -> None:
    """Load topologies with their device sheets; the first that is wrong ends it with file and line."""
    from controller.report.json_output import dumps
    from controller.topology.loader import load_topology

    found = [load_topology(name, overrides, catalog) for name in names]
    if as_json:
        click.echo(dumps([{"source": each.source, "name": each.name, "digest": each.digest} for each in found]))
        return
    for each in found:
        click.echo(
            f"{each.source}: ok, {len(each.devices)} devices, {len(each.links)} links, digest {each.digest[:12]}"
        )


@topology.command()
@click.argument("name", metavar="[NAME_OR_PATH]", required=False)
@overrides_option
@catalog_option
@json_option
def show(name: str | None, overrides: tuple[str, ...], catalog: tuple[Path, ...], as_json: bool) -> None:
    """Print devices, tiers, ports, links, routes and assumed constants; without a name, which topologies there are."""
    from controller.report.json_output import dumps
    from controller.report.tables import show as print_table
    from controller.report.tables import table
    from controller.topology.loader import list_topologies, load_topology
    from controller.topology.show import topology_document, topology_tables

    if name is None:
        names = list_topologies()
        click.echo(dumps(list(names)) if as_json else "\n".join(names))
        return
    loaded = load_topology(name, overrides, catalog)
    if as_json:
        click.echo(dumps(topology_document(loaded)))
        return
    for part in topology_tables(loaded):
        if part.rows:
            print_table(table(part.columns, part.rows, part.title))
