"""Counts what a campaign found, a row per kind of disturbance."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

FAULTS = ("crashes", "hangs", "lost", "wrong")
"""What may be wrong with a run that was disturbed.

crashes: a traceback, a node's too; another exit code than 0, 1, 2; the end of a run that should have gone on.
hangs: no end in time, or a process or a file that is left after the end.
lost: a step that was acknowledged and is not there after a restart.
wrong: values that differ, drives that differ, or an error that does not name who was struck.
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one entry did; `faults` are of FAULTS and empty where all held; `note` says more, for people.

    `missed`: the run ended before it could be struck, so nothing was tried.
    """

    index: int
    kind: str
    faults: frozenset[str] = frozenset()
    note: str = ""
    missed: bool = False


def rows(verdicts: Iterable[Verdict]) -> list[dict[str, str | int]]:
    """Count tries and faults by kind, in the order in which the kinds were first tried."""
    counts: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        if unknown := verdict.faults - set(FAULTS):
            raise ValueError(f"faults {sorted(unknown)}: a fault is one of {FAULTS}; use one of these")
        tried = [] if verdict.missed else ["tries"]
        counts.setdefault(verdict.kind, Counter()).update([*tried, *verdict.faults])
    return [{"campaign": kind, **{name: of[name] for name in ("tries", *FAULTS)}} for kind, of in counts.items()]


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """Give 1 where any entry had a fault, else 0."""
    return int(any(verdict.faults for verdict in verdicts))


def table(verdicts: Iterable[Verdict]) -> str:
    """Lay the counts out as a Markdown table."""
    names = ("campaign", "tries", *FAULTS)
    lines = ["| " + " | ".join(names) + " |", "| --- |" + " ---: |" * (len(names) - 1)]
    lines += ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows(verdicts)]
    return "\n".join(lines)
