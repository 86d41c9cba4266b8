"""Writes the sheet of a calibrated device: the one that it starts from, with new values and where they come from."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from controller.errors import BadMeasurements
from node.hardware.catalog import load_product
from node.hardware.reader import read_sheet


def calibrated_sheet(
    base: str, product: str, constants: Mapping[str, tuple[str, str]], folders: Sequence[str | Path] = ()
) -> str:
    """YAML of `product`: the sheet `base` with other constants, which are then of kind ``measured``.

    Args:
        base: a sheet of the catalog.
        product: name of the new sheet.
        constants: path -> (quantity with unit, source).
        folders: of sheets of the user, searched first.

    Raises:
        BadMeasurements: a path whose part the sheet lacks (``nvlink.read`` of a device without NVLink), or a name that
            cannot be the name of a file.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", product):
        raise BadMeasurements(
            f"product {product!r} cannot be the name of a sheet; use letters, digits, '_', '-' and '.', as in my_{base}"
        )
    yaml = YAML(typ="rt")
    yaml.width = 4096
    document: Any = yaml.load(_text_of(base, folders))
    document["product"] = product
    spec = load_product(base, folders)
    for path, (text, source) in constants.items():
        part, _, name = path.partition(".")
        sections = {
            **dict.fromkeys(spec.tiers, "tiers"), **dict.fromkeys(spec.ports, "ports"),
            **dict.fromkeys(spec.queues, "queues"), **dict.fromkeys(spec.computes, "compute"),
        }  # fmt: skip
        if part not in sections:
            raise BadMeasurements(
                f"{base} has no {part}, so {path} = {text} has no place; it has {', '.join(sections)}"
            )
        owner = document[sections[part]][part]
        if sections[part] == "compute":
            owner = owner.setdefault("constants", {})
        value: Any = text
        if path.endswith("_efficiency"):
            value = float(text)
        owner[name] = {"value": value, "kind": "measured", "source": source}
    stream = io.StringIO()
    yaml.dump(document, stream)
    read_sheet(stream.getvalue(), f"{product}.yaml")  # what is written can be read
    return stream.getvalue()


def _text_of(name: str, folders: Sequence[str | Path]) -> str:
    for folder in folders:
        file = Path(folder) / f"{name}.yaml"
        if file.is_file():
            return file.read_text(encoding="utf-8")
    return (resources.files("node.hardware") / "catalog" / f"{name}.yaml").read_text(encoding="utf-8")
