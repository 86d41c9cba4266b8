"""The five lines and the tables of ``windtunnel compare RUN1.json RUN2.json``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from controller.compare.run_difference import RunDifference
from controller.report.five_lines import FiveLines, first_fitting
from controller.report.tables import TextTable, number, percent, quantity, reported, table

SHOWN = 10
"""Rows of each table; --json has all."""
DIGEST_CHARACTERS = 12
"""Of a digest that are shown: enough to tell two apart."""
TITLES = {
    "asked": "what was asked",
    "result": "what came out",
    "bound by": "critical path",
    "op": "time by kind of op, summed over devices",
    "resource": "what was busy",
}


def difference_lines(
    names: tuple[str, str], first: Mapping[str, Any], second: Mapping[str, Any], found: Sequence[RunDifference]
) -> FiveLines:
    """What a comparison of two kept runs says first."""
    asked = [
        each.name.rpartition(".")[2] for each in found if each.group == "asked" and not each.name.endswith("_digest")
    ]
    strategies = " and ".join(dict.fromkeys(str(run["strategy"]) for run in (first, second)))
    what = f"{names[0]} ({first['strategy']}) and {names[1]} ({second['strategy']})"
    changed = f"; asked differently: {', '.join(asked)}" if asked else "; asked the same"
    times = [quantity(run["time_s"], "s") for run in (first, second)]
    ratio = second["time_s"] / first["time_s"] - 1 if first["time_s"] else None
    one, other = first.get("tokens_per_s"), second.get("tokens_per_s")
    rates = "not told by both"
    if one and other:
        rates = f"{number(one)} and {number(other)} tokens/s, {percent(other / one - 1)}"
    bounds = [_bound(run) for run in (first, second)]
    return FiveLines(
        first_fitting((f"{what}{changed}", f"{strategies}{changed}", what, strategies)),
        f"{times[0]} and {times[1]} on that hardware (device time), {percent(ratio)}",
        rates,
        bounds[0] if bounds[0] == bounds[1] else first_fitting((f"{bounds[0]}; then {bounds[1]}", bounds[0])),
        " and ".join(dict.fromkeys(_values(run) for run in (first, second))),
    )


def difference_tables(found: Sequence[RunDifference]) -> Iterator[TextTable]:
    """A table for each group that has anything."""
    for group, title in TITLES.items():
        rows = [each for each in found if each.group == group]
        more = f", the {SHOWN} largest of {len(rows)}" if len(rows) > SHOWN else ""
        cells = [(each.name, _cell(each, each.first), _cell(each, each.second), percent(each.change)) for each in rows]
        if rows:
            yield table(("", "first", "second", "change"), cells[:SHOWN], f"{title}{more}")


def _cell(each: RunDifference, value: Any) -> str:
    if value is None:
        return "-"
    if each.group in ("bound by", "op", "resource"):
        return quantity(value, "s")
    name = each.name
    if name.endswith("_digest"):
        return str(value)[:DIGEST_CHARACTERS]
    if name.endswith("overrides"):
        return ", ".join(json.loads(value)) or "none"
    return reported(
        f"{name}_bytes" if name.startswith("peak_bytes.") else f"{name}_s" if "phases." in name else name, value
    )


def _bound(run: Mapping[str, Any]) -> str:
    shares: dict[str, float] = {}
    for entry in run.get("bound_by", ()):
        name = entry["resource"] or entry["label"]
        shares[name] = shares.get(name, 0.0) + entry["share"]
    if not shares:
        return "not told"
    best = max(shares, key=lambda name: shares[name])
    return f"{shares[best] * 100:.0f} % {best}"


def _values(run: Mapping[str, Any]) -> str:
    if "rounded" in run:
        return f"{'checked' if run['values_equal'] else 'WRONG'}: rounded logits ({run['rounded']})"
    if "tokens_equal" in run:
        return f"checked: {run['tokens_equal']} of {run['tokens_compared']} tokens equal"
    if "values_equal" in run:
        return "checked: values equal" if run["values_equal"] else "WRONG: values differ"
    return "not checked"
