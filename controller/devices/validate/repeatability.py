"""How far a measurement is from itself, as the README beside the data states it: a smaller error is noise.

Read is the sentence ``moves by 1.0 % (median) and 4.4 % (p90) on H100 GEMM``, and in the same paragraph ``another
software stack by 2.6-4.7 % and 9-26 %``. It holds for the tables of that device and operation; of all others the README
says nothing, and nothing is printed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
AGAIN = re.compile(rf"moves by {NUMBER} % \(median\) and {NUMBER} % \(p90\) on (\w+) (\w+)")
STACK = re.compile(rf"another software stack by {NUMBER}-{NUMBER} % and {NUMBER}-{NUMBER} %")
README = "README.md"
MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Repeatability:
    """How far the same measurement moves when it is made again.

    Attributes:
        device: as the README calls it, in lower case.
        operation: of the table, in lower case.
        median, p90: of the relative change on the same software [ratio].
        stack_median, stack_p90: least and largest of the same on another software stack [ratio]; None where not stated.
        source: file and line.
    """

    device: str
    operation: str
    median: float
    p90: float
    stack_median: tuple[float, float] | None
    stack_p90: tuple[float, float] | None
    source: str

    def of(self, device: str, table: str) -> bool:
        """Whether it is stated of this table of this device."""
        return device.partition("_")[0] == self.device and table.partition("_")[0] == self.operation

    @property
    def text(self) -> str:
        """In a line."""
        said = f"the same GPU measured again moves by {self.median:.1%} (median) and {self.p90:.1%} (p90)"
        if self.stack_median is not None and self.stack_p90 is not None:
            low, high = (f"{pair[0]:.1%} to {pair[1]:.1%}" for pair in (self.stack_median, self.stack_p90))
            said += f", another software stack by {low} and {high}"
        return f"{said} ({self.source})"


def stated_repeatability(folder: Path) -> tuple[Repeatability, ...]:
    """What the README of a folder of measurements states; empty when there is none, or it states nothing."""
    path = folder / README
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        return ()
    text = path.read_text(encoding="utf-8", errors="replace")
    found = []
    for match in AGAIN.finditer(re.sub(r"\s", " ", text)):
        line = text[: match.start()].count("\n") + 1
        paragraph = re.sub(r"\s", " ", text[match.end() :].partition("\n\n")[0])
        stack = STACK.search(paragraph)
        low, high = None, None
        if stack is not None:
            figures = [float(each) / 100 for each in stack.groups()]
            low, high = (figures[0], figures[1]), (figures[2], figures[3])
        found.append(
            Repeatability(
                match[3].lower(), match[4].lower(), float(match[1]) / 100, float(match[2]) / 100, low, high,
                f"{README}:{line}",
            )
        )  # fmt: skip
    return tuple(found)
