"""The section ``prices``: what a device of a product costs an hour.

::

    prices:
      h100_sxm: {value: 11.06 USD/h, kind: datasheet, source: "Lamina (arXiv 2405.01814), table 1"}
      h20: 4.63 USD/h

``--set prices.h100_sxm='9 USD/h'`` overrides one. No time depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from controller.errors import BadTopology
from controller.topology.declaration import Declaration
from controller.topology.document import Document
from controller.topology.nearest import hint
from controller.topology.overrides import Override
from node.errors import BadQuantity
from node.hardware.catalog import list_products
from node.hardware.units import parse


def declared_prices(
    document: Document, declaration: Declaration, overrides: Sequence[Override], folders: Sequence[Path]
) -> dict[str, float]:
    """Rent by product [USD/h], with every override applied.

    Raises:
        BadTopology: a price of a product that the catalog lacks; file and line.
        BadOverride: the same, or a price that is not in USD/h.
    """
    asked = [override for override in overrides if override.target == "prices"]
    if not declaration.prices and not asked:
        return {}
    known = list_products(folders)
    for product in declaration.prices:
        if product not in known:
            raise BadTopology(
                f"{document.where(('prices', product))}: no product {product!r}{hint(product, known, 'products')}"
            )
    rents = {product: price.amount for product, price in declaration.prices.items()}
    for override in asked:
        if override.path not in known:
            raise override.wrong(f"no product {override.path!r}{hint(override.path, known, 'products')}")
        try:
            rents[override.path] = parse(override.value, "USD/h")
        except BadQuantity as error:
            raise override.wrong(str(error)) from error
    return rents


def moved_option(key: str, value: str, *, override: bool = False) -> str:
    """What to write instead of an option that has a place of its own; "" for any other option.

    Args:
        key: of the option.
        value: as given, for the line to write.
        override: whether ``--set`` gave it.
    """
    if key == "faults":
        texts = " ".join(f"{_flag(text)} {text.strip()!r}" for text in value.split(";"))
        return f"faults are no option of a topology: give them to the command, {texts}, or in a file with --faults FILE"
    if key.startswith("price."):
        product = key.removeprefix("price.")
        amount = f"{value} USD/h" if value.replace(".", "", 1).isdigit() else "11.06 USD/h"
        line = f"--set prices.{product}='{amount}'" if override else f"'prices: {{{product}: {amount}}}'"
        return f"prices are no option: write {line}"
    return ""


def _flag(text: str) -> str:
    return "--degrade" if "=" in text else "--fail"
