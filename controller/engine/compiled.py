"""The one decorator of everything that is compiled."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

# Options that numba has and its type hints do not know.
_numba: Any = numba

# Widens an index that was read from a record. A function is compiled once for every combination of types that it is
# called with, so everything that is passed on is an int64, and so are the constants below.
wide = cast(Callable[[Any], int], np.int64)
NOWHERE = wide(-1)
ZERO = wide(0)

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function that other compiled functions call.

    Without numba's reference counting: nothing here allocates, and counting what is passed from function to function
    took most of the time. Inlined: passing a dozen arrays, seven words each, took most of the rest.
    """
    return cast(Function, _numba.njit(error_model="numpy", _nrt=False, forceinline=True)(function))


def entry(function: Function) -> Function:
    """Compile a function that Python calls, and keep the machine code on disk for the next process."""
    return cast(Function, _numba.njit(cache=True, error_model="numpy", _nrt=False)(function))


def fingerprint() -> int:
    """A number that changes whenever the code or the checks change that an entry is compiled from.

    numba notices a change of the file that holds an entry, but not of the files whose functions it calls, nor of
    NUMBA_BOUNDSCHECK. What an entry closes over is part of the key of its cache, so every entry closes over this.
    """
    number = int(_numba.config.BOUNDSCHECK or 0)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        number = zlib.crc32(path.read_bytes(), number)
    return number
