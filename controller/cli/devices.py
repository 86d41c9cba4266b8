"""``windtunnel devices``: the catalog."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.options import catalog_option, json_option

if TYPE_CHECKING:
    from node.hardware.device import DeviceSpec


@click.command()
@click.argument("product", required=False)
@click.option("--all", "everything", is_flag=True, help="Every constant of every product.")
@catalog_option
@json_option
def devices(product: str | None, everything: bool, catalog: tuple[Path, ...], as_json: bool) -> None:
    """List the products, or every constant of one with value, kind and source."""
    from controller.report.json_output import dumps
    from controller.report.tables import show, table
    from node.hardware.catalog import list_products, load_product

    if product and everything:
        raise click.UsageError("give a PRODUCT or --all, not both")
    names = (product,) if product else list_products(catalog)
    specs = [load_product(name, catalog) for name in names]
    if as_json:
        documents = [_document(spec, constants=everything or product is not None) for spec in specs]
        click.echo(dumps(documents[0] if product else documents))
    elif product or everything:
        for spec in specs:
            rows = [(each.path, each.text, each.kind, each.source) for each in spec.constants.values()]
            show(table(("constant", "value", "kind", "source"), rows, f"{spec.product}: {spec.description}"))
    else:
        show(table(("product", "kind", "constants", "assumed", "description"), map(_row, specs)))


def _row(spec: DeviceSpec) -> tuple[object, ...]:
    assumed = sum(each.kind == "assumed" for each in spec.constants.values())
    return (spec.product, spec.kind, len(spec.constants), assumed, spec.description)


def _document(spec: DeviceSpec, *, constants: bool) -> dict[str, Any]:
    document: dict[str, Any] = {"product": spec.product, "kind": spec.kind, "description": spec.description}
    if constants:
        document["constants"] = list(spec.constants.values())
    return document
