"""Builds the shim's two libraries into a folder: ``python -m controller.capture.inside.build FOLDER``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from torch.utils import cpp_extension

SOURCES = Path(__file__).parent.parent / "shim"


def build(folder: Path) -> None:
    """Compiles both libraries for the torch that is installed.

    Args:
        folder: where they go; exists.
    """
    work = folder / "work"
    work.mkdir()
    command = ["g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-o", str(folder / "accelerator.so")]
    subprocess.run([*command, str(SOURCES / "accelerator.cpp")], check=True)
    flags = ["-O1", "-std=c++20"]
    cpp_extension.load(
        "declared_device", [str(SOURCES / "declared_device.cpp")], build_directory=str(work), extra_cflags=flags,
        is_python_module=False,
    )  # fmt: skip
    shutil.copy2(work / "declared_device.so", folder / "declared_device.so")
    shutil.rmtree(work)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
