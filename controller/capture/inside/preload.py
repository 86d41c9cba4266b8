"""Loads the shim before torch, which looks up its hooks once, while it is imported."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import Any

LIBRARIES = ("libc10.so", "libtorch_cpu.so", "libtorch.so", "libtorch_python.so")
"""Of torch, in the order in which they need each other; the shim's symbols must come before theirs."""


def load_shim(folder: Path) -> Any:
    """Makes the shim a part of this process and returns its module.

    Args:
        folder: where `build` put the two libraries.

    Raises:
        RuntimeError: torch was imported already.
    """
    if "torch" in sys.modules:
        raise RuntimeError("torch was imported before the shim; start a process of its own")
    found = importlib.util.find_spec("torch")
    assert found is not None and found.submodule_search_locations, "torch is a dependency"
    home = Path(next(iter(found.submodule_search_locations))) / "lib"
    ctypes.CDLL(str(folder / "accelerator.so"), mode=ctypes.RTLD_GLOBAL)
    for library in LIBRARIES:
        ctypes.CDLL(str(home / library), mode=ctypes.RTLD_GLOBAL)
    ctypes.CDLL(str(folder / "declared_device.so"), mode=ctypes.RTLD_GLOBAL)
    importlib.import_module("torch")
    loader = ExtensionFileLoader("declared_device", str(folder / "declared_device.so"))
    spec = importlib.util.spec_from_loader("declared_device", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
