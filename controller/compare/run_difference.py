"""What differs between two kept runs: files that ``windtunnel run ... --json`` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.errors import UserError

NEEDED = ("strategy", "topology", "model", "workload", "outcome", "time_s", "by_op", "by_resource", "provenance")
SAME = 1e-9
"""Relative; numbers closer than this are equal."""
ASKED = ("strategy", "executor", "topology", "model", "workload", "options", "provenance", "assumed")
RESULTS = (
    "outcome", "time_s", "paced_s", "phases", "tokens_per_s", "energy_j", "reports", "peak_bytes", "flash",
    "tokens_equal", "tokens_compared", "values_equal",
)  # fmt: skip


class BadKeptRun(UserError):
    """A file that holds no kept run."""


@dataclass(frozen=True, slots=True)
class RunDifference:
    """One thing that differs.

    Attributes:
        group: ``asked``, ``result``, ``bound by``, ``op`` or ``resource``.
        name: of the thing; the ending of its last part says its unit.
        first, second: its values; None where a run lacks it.
    """

    group: str
    name: str
    first: Any
    second: Any

    @property
    def change(self) -> float | None:
        """How much larger the second is, over the first; None where they are no two numbers."""
        if not (_is_number(self.first) and _is_number(self.second)) or not self.first:
            return None
        return float(self.second / self.first - 1)


def load_run(path: Path) -> Mapping[str, Any]:
    """A kept run.

    Raises:
        BadKeptRun: no such file, no JSON, or the JSON of something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadKeptRun(f"{path} cannot be read: {error.strerror}; name a file that `run --json` wrote") from error
    except ValueError as error:
        raise BadKeptRun(f"{path} is no JSON ({error}); name a file that `run --json` wrote") from error
    missing = [key for key in NEEDED if not isinstance(found, dict) or key not in found]
    if missing:
        raise BadKeptRun(f"{path} is no kept run: it lacks {', '.join(missing)}; name a file that `run --json` wrote")
    return dict(found)


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[RunDifference, ...]:
    """Everything that differs: what was asked, then results, then times, largest difference of time first."""
    found = [
        *_differing("asked", _flat(first, ASKED), _flat(second, ASKED)),
        *_differing("result", _flat(first, RESULTS), _flat(second, RESULTS)),
    ]
    for group, key in (("bound by", "bound_by"), ("op", "by_op"), ("resource", "by_resource")):
        parts = list(_differing(group, _times(first.get(key, ())), _times(second.get(key, ()))))
        parts.sort(key=lambda part: (-abs((part.second or 0.0) - (part.first or 0.0)), part.name))
        found += parts
    return tuple(found)


def _differing(group: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[RunDifference]:
    for name in dict.fromkeys([*first, *second]):
        one, other = first.get(name), second.get(name)
        if one == other:
            continue
        if isinstance(one, int | float) and isinstance(other, int | float) and abs(one - other) <= SAME * abs(one):
            continue
        yield RunDifference(group, name, one, other)


def _flat(run: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Values of these keys, those of objects under ``key.name``."""
    found: dict[str, Any] = {}
    for key in keys:
        value = run.get(key)
        if key == "assumed":
            found |= {f"assumed {entry['device']}.{entry['path']}": entry["text"] for entry in value or ()}
        elif isinstance(value, dict):
            found |= {f"{key}.{name}": _plain(item) for name, item in value.items()}
        elif value is not None:
            found[key] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float) else json.dumps(value)


def _times(entries: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds by what they belong to."""
    found: dict[str, float] = {}
    for entry in entries:
        label = entry.get("label", entry.get("name", ""))
        name = f"{label} ({entry['resource']})" if entry.get("resource") else str(label)
        found[name] = found.get(name, 0.0) + float(entry.get("time_s", entry.get("busy_s", 0.0)))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
