"""The catalog of device sheets: the shipped folder, and folders of the user that are searched first."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final

from node.errors import BadName, BadQuantity, BadSheet, UnknownProduct
from node.hardware.device import Constant, DeviceSpec
from node.hardware.reader import read_sheet
from node.hardware.sheet import assemble, known_paths, overridden, skeleton_of
from node.hardware.units import parse

_NAME: Final = re.compile(r"^[a-z0-9][a-z0-9_-]{0,63}$")
_SHIPPED: Final = "node.hardware"


def load_product(name: str, folders: Sequence[str | Path] = ()) -> DeviceSpec:
    """The sheet of product `name`.

    Args:
        name: file name without ``.yaml``: lower-case letters, digits, ``_`` and ``-``.
        folders: searched first, in order; then the shipped catalog.

    Raises:
        BadName: `name` could leave its folder or is no product name.
        UnknownProduct: no sheet of that name; says the nearest.
        BadSheet: the sheet is wrong, or says another product than its file name; says file and line.
    """
    if not _NAME.match(str(name)):
        raise BadName(f"{name!r} is not a product name; use up to 64 lower-case letters, digits, '_' and '-'")
    for folder in _existing(folders):
        file = folder / f"{name}.yaml"
        if file.is_file():
            return _named(read_sheet(_text_of(file), str(file)), name, str(file))
    shipped = _load_shipped(name)
    if shipped is None:
        known = list_products(folders)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise UnknownProduct(f"no device sheet {name!r} in the catalog; {hint}")
    return shipped


def list_products(folders: Sequence[str | Path] = ()) -> tuple[str, ...]:
    """Names of every product, sorted; `folders` as in `load_product`."""
    names = {entry.name for entry in (resources.files(_SHIPPED) / "catalog").iterdir()}
    for folder in _existing(folders):
        names |= {entry.name for entry in folder.iterdir()}
    stems = (name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))
    return tuple(sorted(stem for stem in stems if _NAME.match(stem)))


def apply_overrides(spec: DeviceSpec, overrides: Mapping[str, str]) -> DeviceSpec:
    """`spec` with other values for some constants, which are then of kind ``assumed`` and source ``override``.

    Args:
        spec: a product.
        overrides: constant path -> quantity with unit: ``{"flash.read": "11.2 GB/s"}``. A path that the sheet leaves
            out but could have (``pcie.pageable``) is added.

    Raises:
        BadSheet: an unknown path (says the nearest), a quantity that cannot be read, or an impossible device.
    """
    if not overrides:
        return spec
    skeleton = skeleton_of(spec)
    dimensions = known_paths(skeleton)
    constants = dict(spec.constants)
    for path, text in overrides.items():
        if path not in dimensions:
            # What the sheet has is nearer to what was meant than what it could have.
            near = difflib.get_close_matches(path, constants, n=1) or difflib.get_close_matches(path, dimensions, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"this sheet has: {', '.join(constants)}"
            raise BadSheet(f"{spec.product} has no constant {path!r}; {hint}")
        try:
            value = parse(text, dimensions[path])
        except BadQuantity as error:
            raise BadSheet(f"override of {path} of {spec.product}: {error}") from None
        constants[path] = overridden(
            constants.get(path, Constant(path, text, value, "assumed", "override")), text, value
        )
    return assemble(skeleton, constants, f"override of {spec.product}")


def _existing(folders: Sequence[str | Path]) -> list[Path]:
    paths = [Path(folder) for folder in folders]
    for path in paths:
        if not path.is_dir():
            raise UnknownProduct(
                f"catalog folder {str(path)!r} does not exist; give a folder of device sheets (*.yaml)"
            )
    return paths


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSheet(f"{file}: cannot be read: {error}") from None


@lru_cache(maxsize=256)
def _load_shipped(name: str) -> DeviceSpec | None:
    # Read through importlib.resources, so that a wheel and a checkout find the same sheets.
    file = resources.files(_SHIPPED) / "catalog" / f"{name}.yaml"
    if not file.is_file():
        return None
    return _named(read_sheet(file.read_text(encoding="utf-8"), f"catalog/{name}.yaml"), name, f"catalog/{name}.yaml")


def _named(spec: DeviceSpec, name: str, where: str) -> DeviceSpec:
    if spec.product != name:
        raise BadSheet(f"{where}: product is {spec.product!r}, but the file is called {name!r}; make them equal")
    return spec
