"""Names that data sets use for products of the catalog.

A name is lowered and its separators become ``_``; then it is either the name of a sheet or one of `ALIASES`. Nothing is
guessed: a name that is neither is an error with the nearest known names.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from node.errors import UnknownProduct
from node.hardware.catalog import list_products, load_product
from node.hardware.device import DeviceSpec

ALIASES: Final[Mapping[str, str]] = {
    "a100": "a100_sxm_80",
    "a100_sxm": "a100_sxm_80",
    "a100_sxm4": "a100_sxm_80",
    "a100_sxm4_80gb": "a100_sxm_80",
    "a100_sxm4_40gb": "a100_sxm_40",
    "a100_pcie": "a100_pcie_80",
    "a100_pcie_80gb": "a100_pcie_80",
    "a6000": "rtx_a6000",
    "ascend910b": "ascend_910b",
    "ascend910c": "ascend_910c",
    "b200": "b200_sxm",
    "b200_sxm_180gb": "b200_sxm",
    "cassini": "slingshot11",
    "connectx_6": "connectx6",
    "connectx_7": "connectx7",
    "cx6": "connectx6",
    "cx7": "connectx7",
    "gh200_96gb": "gh200",
    "gh200_sxm": "gh200",
    "h100": "h100_sxm",
    "h100_sxm5": "h100_sxm",
    "h100_sxm5_80gb": "h100_sxm",
    "h100_pcie_80gb": "h100_pcie",
    "h200": "h200_sxm",
    "h200_sxm_141gb": "h200_sxm",
    "h20_sxm": "h20",
    "h800": "h800_sxm",
    "h800_sxm5": "h800_sxm",
    "h800_sxm5_80gb": "h800_sxm",
    "l40s_pcie": "l40s",
    "mi250x": "mi250x_gcd",
    "mi300x_oam": "mi300x",
    "rtx3090": "rtx_3090",
    "rtx4080": "rtx_4080",
    "rtx4090": "rtx_4090",
    "rtx5090": "rtx_5090",
    "rtx_pro_6000_server": "rtx_pro_6000",
    "rtx_pro_6000_blackwell_server": "rtx_pro_6000",
    "rtx_pro_6000_blackwell_server_edition": "rtx_pro_6000",
    "slingshot": "slingshot11",
    "slingshot_11": "slingshot11",
    "smartssd_4tb": "smartssd",
    "tpuv6e": "tpu_v6e",
    "ub": "huawei_ub",
    "v100": "v100_sxm",
    "v100_sxm2": "v100_sxm",
}
"""Name in a data set -> name of a sheet."""


def normal_name(name: str) -> str:
    """`name` in the form of a sheet's name: lower case, ``_`` between words, without a vendor in front."""
    lowered = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return re.sub(r"^(nvidia|amd|huawei|google|samsung)_", "", lowered)


def find_product(name: str, folders: Sequence[str | Path] = ()) -> DeviceSpec:
    """The sheet that `name` means: a sheet of that name first, an alias of it second.

    Args:
        name: as a data set or a person writes it: ``h100_sxm``, ``H100-SXM5-80GB``.
        folders: of sheets of the user, searched first.

    Raises:
        UnknownProduct: neither a sheet nor an alias.
    """
    known = list_products(folders)
    wanted = normal_name(name)
    product = wanted if wanted in known else ALIASES.get(wanted, "")
    if product in known:
        return load_product(product, folders)
    near = difflib.get_close_matches(wanted, (*known, *ALIASES), n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(near)}" if near else f"known: {', '.join(known)}"
    raise UnknownProduct(f"no device {name!r} in the catalog; {hint}; a sheet of your own goes in with --catalog")
