"""How much every compared row hangs on each assumed constant.

Each assumed constant of the topologies that a paper's runs use is changed by a small share, one at a time, in every run
that has it, and the rows are computed anew. Quantities among the options of a topology (rates of software paths,
budgets, shares) have no kind there and are changed like assumed ones. Bytes and counts stay whole, and a count changes
by one at least. What is printed is the elasticity: the relative change of our value over the relative change of the
constant: 1 where the value follows it, 0 where it does not care. A changed run that cannot be run is a row with its
error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

from controller.compare.kept import BrokenOff, ProgressSink
from controller.experiment.result import Assumption, assumptions
from controller.experiment.run_spec import RunSpec
from controller.experiment.virtual import prepare
from controller.reproduce.rows import Paper, PublishedRow, Results, Value, value_of
from controller.reproduce.runner import finished_rows, run_kept_requests
from controller.topology.schema import Topology
from node.errors import BadQuantity
from node.hardware.sheet import COMPUTE_NUMBERS
from node.hardware.units import format_quantity, parse

STEP = -0.10
"""By how much a constant is changed: down, since a share of a peak has no room above."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """One row against one constant.

    Attributes:
        paper, table, row, quantity: of the compared row.
        constant: what was changed, as ``--set`` names it.
        value, changed_to: what it is declared as, and what it was changed to.
        source: why it is assumed to be that.
        ours, changed: our value with the declared constant, and with the changed one.
        elasticity: relative change of our value over that of the constant; None where one of the values is a text.
    """

    paper: str
    table: str
    row: str
    quantity: str
    constant: str
    value: str
    changed_to: str
    source: str
    ours: Value
    changed: Value
    elasticity: float | None


def sensitivity(
    paper: Paper, *, folder: Path | None = None, progress: ProgressSink | None = None, processes: int | None = None
) -> tuple[Sensitivity, ...]:
    """Every counted row of `paper` against every assumed constant that its runs use.

    Args:
        paper: whose rows.
        folder: where finished runs are kept and found again; None for nowhere.
        progress: called with (done, total, name of a run).
        processes: runs at once; None for as many as there are cores.

    Raises:
        BrokenOff: Ctrl-C; carries the pairs whose runs are all finished.
        WorkerDied: a process was killed.
    """
    counted = [row for row in paper.rows if row.runs and (row.tolerance is not None or row.calibration)]
    needed = {key: paper.runs[key] for row in counted for key in row.runs}
    constants = {key: _assumed(request) for key, request in needed.items()}
    items: dict[str, RunSpec] = dict(needed)
    for path in _paths(constants):
        for key, request in needed.items():
            if path in constants[key]:
                text = f"{path}={constants[key][path].scaled}"
                items[f"{key}|{path}"] = replace(request, overrides=(*request.overrides, text))
    try:
        results = run_kept_requests(items, folder, progress, processes)
    except BrokenOff as broken:
        raise broken.giving(_pairs(paper, counted, constants, broken.rows)) from None
    return _pairs(paper, counted, constants, results)


def _pairs(
    paper: Paper, rows: Sequence[PublishedRow], constants: Mapping[str, Mapping[str, _Assumed]], results: Results
) -> tuple[Sensitivity, ...]:
    """Rows against constants, as far as all their runs are among `results`."""
    found: list[Sensitivity] = []
    for row in finished_rows(rows, results):
        ours = value_of(row, results)
        for path in _paths(constants):
            touched = [key for key in row.runs if path in constants[key]]
            if not touched or any(f"{key}|{path}" not in results for key in touched):
                continue
            after = value_of(row, {**results, **{key: results[f"{key}|{path}"] for key in touched}})
            constant = constants[touched[0]][path]
            named = " ".join(f"{key}={value}" for key, value in row.row.items())
            found.append(
                Sensitivity(
                    paper.name, row.table, named, row.quantity, path, constant.text, constant.scaled, constant.source,
                    ours, after, _elasticity(ours, after, constant.change),
                )
            )  # fmt: skip
    return tuple(found)


def _paths(constants: Mapping[str, Mapping[str, _Assumed]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(path for found in constants.values() for path in found))


@dataclass(frozen=True, slots=True)
class _Assumed:
    text: str
    source: str
    scaled: str
    change: float


def _assumed(request: RunSpec) -> Mapping[str, _Assumed]:
    """The assumed constants of a request's topology by their path for ``--set``, but those that the request gives."""
    _, topology, _ = prepare(request)
    given = {text.partition("=")[0].strip() for text in request.overrides}
    found: dict[str, _Assumed] = {}
    for entry in assumptions(topology):
        if entry.path.startswith("power."):
            continue  # no row is an energy, and no time depends on one
        path = _override_path(topology, entry)
        scaled = scaled_text(entry.text, 1 + STEP, count=COMPUTE_NUMBERS.get(path.rpartition(".")[2]) == "count")
        if path not in given and scaled is not None:
            found.setdefault(path, _Assumed(entry.text, entry.source, *scaled))
    for name, text in topology.options.items():
        path, scaled = f"options.{name}", scaled_text(text, 1 + STEP)
        if path not in given and scaled is not None and not name.endswith(".version"):
            found.setdefault(path, _Assumed(text, f"option of {topology.name}", *scaled))
    return found


def _override_path(topology: Topology, entry: Assumption) -> str:
    """What ``--set`` calls an assumed constant: of every copy, where devices or links are declared once."""
    name, dot, rest = entry.device.partition(".")
    if not dot:
        return f"{entry.device}.{entry.path}"
    group = topology.devices[name].group if name in topology.devices else name
    return f"link.{group}.{rest}.{entry.path}"


def scaled_text(text: str, factor: float, *, count: bool = False) -> tuple[str, float] | None:
    """A quantity as text with its number multiplied, and the relative change that came of it.

    Args:
        text: as declared.
        factor: below 1.
        count: the quantity is known to be a count; a bare whole number above 1 is taken for one anyway.

    Returns:
        Whole bytes stay whole, and a count goes down by one at least. None for what cannot change so: a word, yes or
        no, zero, and a count of 1.
    """
    try:
        whole_bytes = parse(text, "bytes")
    except BadQuantity:
        pass
    else:
        scaled_bytes = round(whole_bytes * factor)
        return (format_quantity(scaled_bytes, "bytes"), scaled_bytes / whole_bytes - 1) if scaled_bytes else None
    number, _, unit = text.strip().partition(" ")
    try:
        value = float(number)
    except ValueError:
        return None
    scaled = value * factor
    if count or (not unit and value == int(value) and value > 1):
        scaled = float(min(round(scaled), int(value) - 1))
    if scaled <= 0 or not isfinite(scaled):
        return None
    return f"{scaled:.12g} {unit}".strip(), scaled / value - 1


def _elasticity(ours: Value, changed: Value, change: float) -> float | None:
    if isinstance(ours, str) or isinstance(changed, str) or ours == 0:
        return None
    return (changed / ours - 1) / change + 0.0  # no minus before a zero
