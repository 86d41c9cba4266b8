"""The shim's libraries: built once for a version of torch and of the shim, kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from controller.capture.errors import MissingCompiler
from controller.models.cache_folder import kept_folder

SOURCES = Path(__file__).parent / "shim"
FILES = ("accelerator.cpp", "declared_device.cpp")
ROOM_BYTES = 200_000_000
"""What a build takes on disk while it goes on [bytes]."""
LONGEST_BUILD_S = 900.0


def shim_folder() -> Path:
    """Where the libraries lie; builds them when there are none for this torch.

    Raises:
        MissingCompiler: they have to be built, and there is no compiler; or it failed.
        PreflightFailed: the cache cannot be written.
    """
    digest = hashlib.sha256()
    for name in FILES:
        digest.update((SOURCES / name).read_bytes())
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = f"cuda-shim-torch-{metadata.version('torch')}-python-{python}-{digest.hexdigest()[:12]}"
    return kept_folder(key, ROOM_BYTES, _build)


def _build(folder: Path) -> None:
    missing = [name for name in ("g++", "ninja") if shutil.which(name) is None]
    if missing:
        raise MissingCompiler(
            f"capturing a PyTorch program needs {' and '.join(missing)} once, to build a small library: install "
            f"them (apt install g++ ninja-build, or conda install gxx ninja); everything else works without"
        )
    command = [sys.executable, "-m", "controller.capture.inside.build", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_BUILD_S, check=False)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line.lower()]
        reason = lines[0].strip() if lines else f"exit code {done.returncode}"
        raise MissingCompiler(
            f"the library that stands in for CUDA does not build for torch {metadata.version('torch')}: {reason}; "
            f"install the compiler that fits this torch (g++ 11 or later), or another torch"
        )
