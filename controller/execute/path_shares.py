"""What bounds a run: its critical path, summed up by what ran and what its time went into."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from controller.execute.critical import Explanation

BETWEEN = "between plans"
"""Label of the part of a run that no op of its critical path covers."""
_NUMBER = re.compile(r"(?<=[A-Za-z_])\d+\b")


@dataclass(frozen=True, slots=True)
class PathShare:
    """A part of the critical path.

    Attributes:
        label: of the ops.
        resource: what their time went into; ``gpu*.hbm`` where several devices of a kind take turns.
        time_s: on the path [s].
        share: of the whole run.
    """

    label: str
    resource: str
    time_s: float
    share: float


def path_shares(explanation: Explanation, time_s: float) -> tuple[PathShare, ...]:
    """The parts of the critical path, longest first, with what it does not cover.

    Args:
        explanation: of a run.
        time_s: what the run took; the shares are of this [s].
    """
    if time_s <= 0:
        return ()
    found: dict[tuple[str, str], dict[str, float]] = {}
    for entry in explanation.path:
        parts = found.setdefault((entry.label, _NUMBER.sub("*", entry.resource)), {})
        parts[entry.resource] = parts.get(entry.resource, 0.0) + entry.time_s
    shares = [
        PathShare(label, next(iter(parts)) if len(parts) == 1 else kind, whole := sum(parts.values()), whole / time_s)
        for (label, kind), parts in found.items()
    ]
    shares.sort(key=lambda entry: (-entry.time_s, entry.label, entry.resource))
    rest_s = time_s - sum(entry.time_s for entry in shares)
    if rest_s > 1e-6 * time_s:
        shares.append(PathShare(BETWEEN, "", rest_s, rest_s / time_s))
    return tuple(shares)


def by_resource(shares: Sequence[PathShare]) -> list[tuple[str, float]]:
    """Resources of the critical path with their share of the run, longest first."""
    found: dict[str, float] = {}
    for share in shares:
        name = share.resource or share.label
        found[name] = found.get(name, 0.0) + share.share
    return sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))
