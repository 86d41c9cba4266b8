"""One constant that an output tells, and what readers of all tools share."""

from __future__ import annotations

import re
from dataclasses import dataclass

from controller.errors import BadMeasurements

NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
"""A plain decimal number, as one group."""

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LAUNCHERS = (
    re.compile(r"^\[[^\]\s]+\](?:<std(?:out|err)>)?:? ?"),  # mpirun --tag-output, torchrun, the launcher of a job
    re.compile(r"^\s*\d+: "),  # srun --label
    re.compile(r"^\d{4}-\d\d-\d\d[T ][0-9:.,]+(?:Z|[+-]\d\d:?\d\d)? "),  # logs with time stamps
    re.compile(r"^[\w.-]+ +\| ?"),  # docker compose
    re.compile(r"^[A-Za-z][\w.-]*: "),  # pdsh, clush
)
_MOST_LINES = 0.9
"""Share of the lines that must begin alike before that is taken for what a launcher wrote."""


@dataclass(frozen=True, slots=True)
class Found:
    """One constant that an output tells.

    Attributes:
        path: of the constant.
        text: quantity with unit.
        method: which line of the output says it, and how it was read.
        caveat: what the output leaves open, in a sentence; "" when nothing.
    """

    path: str
    text: str
    method: str
    caveat: str = ""


def refuse_other_unit(text: str, heading: str, unit: str, where: str) -> None:
    """Refuses figures in another unit than the tool is known to write.

    Args:
        text: the output.
        heading: expression whose one group is the unit.
        unit: that is read.
        where: the output is from.

    Raises:
        BadMeasurements: another unit.
    """
    other = next((said for said in re.findall(heading, text) if said != unit), None)
    if other is not None:
        raise BadMeasurements(f"{where}: the figures are in {other}, and only {unit} is read; convert them")


def without_launcher(text: str) -> str:
    """`text` without colours, and without what mpirun, srun, pdsh or a log put before each line."""
    lines = _ANSI.sub("", text).replace("\r", "").split("\n")
    for _ in range(2):  # a log may put its time before the label of mpirun
        filled = [line for line in lines if line.strip()]
        for launcher in _LAUNCHERS:
            marked = sum(1 for line in filled if launcher.match(line))
            if filled and marked >= _MOST_LINES * len(filled):
                lines = [launcher.sub("", line, count=1) for line in lines]
                break
        else:
            break
    return "\n".join(lines)
