"""The five lines that every result begins with, for somebody who has never seen one.

They say what ran on what, how long it takes on that hardware, what that makes per second, what bounds it, and whether
any value was checked. Each fits into 80 columns: where the whole sentence does not, a shorter one takes its place, and
where that would leave a phase of the run out, it goes on below.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controller.execute.path_shares import PathShare
from controller.report.tables import quantity

WIDTH = 80
LABELS = ("ran", "time", "throughput", "bound by", "values")
_INDENT = 12
LEAST_SHARE = 0.03
"""Parts of a critical path below it are left to ``--explain``."""


@dataclass(frozen=True, slots=True)
class FiveLines:
    """What a result says first.

    Attributes:
        ran: what ran on what.
        time: how long it takes on that hardware.
        throughput: what that makes per second.
        bound_by: what bounds it.
        values: whether values were checked, and against what.
        labels: what stands before the lines.
    """

    ran: str
    time: str
    throughput: str
    bound_by: str
    values: str
    labels: tuple[str, ...] = LABELS

    def text(self, prefix: str = "") -> str:
        """The five lines; `prefix` stands before each, and before what goes on below one."""
        parts = (self.ran, self.time, self.throughput, self.bound_by, self.values)
        room, lines = WIDTH - _INDENT - len(prefix), list[str]()
        for label, part in zip(self.labels, parts, strict=True):
            first, *rest = part.split("\n")
            lines += [f"{prefix}{label:<{_INDENT}}{_cut(first, room)}"]
            lines += [f"{prefix}{'':<{_INDENT}}{_cut(each, room)}" for each in rest]
        return "\n".join(lines)


def first_fitting(candidates: Iterable[str], room: int = WIDTH - _INDENT) -> str:
    """The first of the texts that fits into `room` columns, else the last one."""
    text = ""
    for text in candidates:
        if len(text) <= room:
            return text
    return text


def device_time(time_s: float, rest: Sequence[str] = (), room: int = WIDTH - _INDENT) -> str:
    """A time that is said to be one on the declared hardware, and all of `rest`, on as many lines as that takes."""
    time = quantity(time_s, "s")
    if not rest:
        return f"{time} on that hardware (device time)"
    whole = ", ".join(rest)
    text = first_fitting((f"{time} on that hardware (device time): {whole}", f"{time} device time: {whole}"), room)
    if len(text) <= room:
        return text
    lines = [f"{time} device time:"]
    for number, part in enumerate(rest):
        part = f"{part}{',' if number + 1 < len(rest) else ''}"
        if len(lines[-1]) + 1 + len(part) > room:
            lines.append(part)
        else:
            lines[-1] = f"{lines[-1]} {part}"
    return "\n".join(lines)


def bound_text(shares: Sequence[PathShare], room: int = WIDTH - _INDENT) -> str:
    """What the critical path went into, each with its ops: as many as fit and matter."""
    if not shares:
        return "nothing: no time passed"
    groups: dict[str, list[PathShare]] = {}
    for share in shares:
        groups.setdefault(share.resource, []).append(share)
    ordered = sorted(groups.items(), key=lambda group: -sum(share.share for share in group[1]))
    text = ""
    for resource, parts in ordered:
        whole = sum(part.share for part in parts)
        if text and whole < LEAST_SHARE:
            break
        named = [part for part in parts if part.share >= LEAST_SHARE] or parts[:1]
        longer = [f"{text}{', ' if text else ''}{each}" for each in _wordings(resource, whole, named)]
        fitting = [each for each in longer if len(each) <= room]
        if text and not fitting:
            break
        text = fitting[0] if fitting else longer[-1]
    return text


def _wordings(resource: str, share: float, parts: Sequence[PathShare]) -> list[str]:
    """From the longest to the shortest."""
    whole = f"{share * 100:.0f} %"
    if not resource:
        return [f"{whole} {parts[0].label}"]
    texts = [part.label if len(parts) == 1 else f"{part.share * 100:.0f} % {part.label}" for part in parts]
    lists = [", ".join(texts[:count]) for count in range(min(len(texts), 3), 0, -1)]
    return [*(f"{whole} {resource} ({text})" for text in lists), f"{whole} {resource}"]


def _cut(text: str, room: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= room else f"{line[: room - 3].rstrip()}..."
