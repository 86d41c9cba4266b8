"""``windtunnel topology list | check | show | import``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from controller.cli.options import catalog_option, json_option, overrides_option


@click.group()
def topology() -> None:
    """Check and show declared clusters, and make them of other formats."""


@topology.command(name="list")
@catalog_option
@json_option
def list_(catalog: tuple[Path, ...], as_json: bool) -> None:
    """List the shipped topologies: name, devices, description."""
    from controller.report.json_output import dumps
    from controller.report.tables import show as print_table
    from controller.report.tables import table
    from controller.topology.loader import list_topologies, load_topology
    from controller.topology.shipped import topology_summary

    found = [
        {
            "name": name,
            "devices": len(load_topology(name, (), catalog).devices),
            "description": topology_summary(name),
        }
        for name in list_topologies()
    ]
    if as_json:
        click.echo(dumps(found))
    else:
        print_table(table(("topology", "devices", "description"), [tuple(each.values()) for each in found]))


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
@click.option(
    "--host", default="", help="Show this host alone; otherwise everything, with the matrices of the first hosts."
)
@overrides_option
@catalog_option
@json_option
def show(name: str | None, host: str, overrides: tuple[str, ...], catalog: tuple[Path, ...], as_json: bool) -> None:
    """Print devices, links, routes, the matrix of a host and assumed constants; without a name, all topologies."""
    from controller.report.json_output import dumps
    from controller.report.tables import show as print_table
    from controller.report.tables import table
    from controller.topology.loader import list_topologies, load_topology
    from controller.topology.show.json_document import topology_document
    from controller.topology.show.tables import topology_tables

    if name is None:
        names = list_topologies()
        click.echo(dumps(list(names)) if as_json else "\n".join(names))
        return
    loaded = load_topology(name, overrides, catalog)
    if as_json:
        click.echo(dumps(topology_document(loaded, host)))
        return
    for part in topology_tables(loaded, host):
        if part.rows:
            print_table(table(part.columns, part.rows, part.title))


@topology.command(name="import")
@click.argument("format_name", metavar="FORMAT")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write here, not to the terminal."
)
@click.option("--name", default="", help="Of the topology; the stem of the file otherwise.")
@click.option(
    "--product", "products", multiple=True, metavar="[KIND=]NAME", help="Product of gpu, cpu, host or a name."
)
@click.option("--link", "links", multiple=True, metavar="NAME=BANDWIDTH[,LATENCY]", help="What the file does not say.")
@click.option("--latency", default="", help="Of every link whose latency the file does not say.")
@catalog_option
def import_(
    format_name: str,
    path: Path,
    output: Path | None,
    name: str,
    products: tuple[str, ...],
    links: tuple[str, ...],
    latency: str,
    catalog: tuple[Path, ...],
) -> None:
    """Make a topology of nvidia-topo (topo -m), rocm-topo (--showtopo), nccl (its XML), simgrid or infragraph."""
    from controller.topology.importing.sketch import Given
    from controller.topology.importing.table import import_topology
    from controller.topology.names import name_complaint

    if name and name_complaint(name, "topology"):
        raise click.UsageError(name_complaint(name, "topology"))
    wires = {}
    for link, text in _pairs(links, "--link NAME=BANDWIDTH[,LATENCY]"):
        rate, _, wait = text.partition(",")
        wires[link] = (rate.strip(), wait.strip())
    kinds = dict(_pairs([each if "=" in each else f"gpu={each}" for each in products], "--product KIND=NAME"))
    text = import_topology(format_name, path, name, Given(kinds, wires, latency, catalog))
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"{output} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {output}")


def _pairs(texts: Sequence[str], usage: str) -> list[tuple[str, str]]:
    found = []
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise click.UsageError(f"{text!r}: write {usage}")
        found.append((key, value))
    return found
