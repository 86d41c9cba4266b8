"""Finds the author's line: errors about a plan name the line of the strategy that wrote it, not one of windtunnel's."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import sysconfig
from pathlib import Path
from types import FrameType
from typing import NoReturn

from controller.errors import BadPlan
from controller.plan.ops import Plan

Line = tuple[str, int]
"""File, and line in it."""

_HOUSE = str(Path(__file__).parents[1]) + os.sep
_ROOT = str(Path(__file__).parents[2]) + os.sep
_STRATEGIES = _HOUSE + "strategies" + os.sep
_PACKAGES = tuple(sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib"))
_CALLERS = (contextlib.__file__, *(package + "click" + os.sep for package in _PACKAGES))
"""Between windtunnel and itself: context managers, and the command line."""
_STARTS = (sysconfig.get_path("scripts") + os.sep, "<frozen ")
"""Where a process begins that runs windtunnel alone."""
_IS_HOUSE: dict[str, bool] = {}
"""File to whether it is part of windtunnel and not of a strategy."""
_LINE = re.compile(r".+?:\d+: ")


def author() -> Line | None:
    """Line of the innermost caller that is a strategy or a user's own code; None where windtunnel alone is at work."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        house = _IS_HOUSE.get(file)
        if house is None:
            house = _is_house(file)
        if not house:
            return file, frame.f_lineno
        frame = frame.f_back
    return None


def author_of(error: BaseException) -> Line | None:
    """Line of the innermost strategy or user's own code that `error` came through; None for none."""
    found, trace = None, error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not _is_house(file):
            found = file, trace.tb_lineno
        trace = trace.tb_next
    return found


def author_line() -> str:
    """File and line of the innermost caller that is a strategy or a user's own code; "" for none."""
    line = author()
    return "" if line is None else line_text(line)


def line_text(line: Line) -> str:
    """``file:line``; a strategy of windtunnel's own below ``controller``, whatever machine it lies on."""
    file, number = line
    return f"{file.removeprefix(_ROOT) if file.startswith(_HOUSE) else file}:{number}"


def refuse(what: str) -> NoReturn:
    """Raises BadPlan with the line of the strategy that is at work."""
    raise BadPlan(at(author(), what)) from None


def at(line: Line | None, what: str) -> str:
    """`what` with file and line in front; unchanged without a line, or where it begins with one."""
    return what if line is None or _LINE.match(what) else f"{line_text(line)}: {what}"


def where(plan: Plan, index: int) -> str:
    """What begins an error about one op: the line that wrote it as far as it is known, the plan and the op."""
    line = plan.lines[index] if plan.lines else author()
    return at(line, f"plan {plan.name!r}, op {index}")


def _is_house(file: str) -> bool:
    house = _IS_HOUSE.get(file)
    if house is None:
        ours = file.startswith(_HOUSE) and not file.startswith(_STRATEGIES)
        house = _IS_HOUSE[file] = ours or file.startswith((*_CALLERS, *_STARTS))
    return house
