"""How much every compared row hangs on each assumed constant.

Each assumed constant of the topologies that a paper's runs use is changed by a small share, one at a time, in every run
that has it, and the rows are computed anew. Quantities among the options of a topology (rates of software paths,
budgets, shares) have no kind there and are changed like assumed ones. What is printed is the elasticity: the relative
change of our value over the relative change of the constant: 1 where the value follows it, 0 where it does not care.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from controller.compare.pool import each
from controller.experiment import Assumption, Request, assumptions, prepare
from controller.reproduce.rows import Paper, RunResult, Value
from controller.reproduce.runner import run_request
from controller.topology.schema import Topology

STEP = -0.10
"""By how much a constant is changed: down, since a share of a peak has no room above."""

ProgressSink = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """One row against one constant.

    Attributes:
        paper, table, row, quantity: of the compared row.
        constant: what was changed, as ``--set`` names it.
        value: what it is declared as.
        source: why it is assumed to be that.
        ours, changed: our value with the declared constant, and with the changed one.
        elasticity: relative change of our value over `STEP`; None where one of the two is a text.
    """

    paper: str
    table: str
    row: str
    quantity: str
    constant: str
    value: str
    source: str
    ours: Value
    changed: Value
    elasticity: float | None


def sensitivity(
    paper: Paper, *, progress: ProgressSink | None = None, processes: int | None = None
) -> tuple[Sensitivity, ...]:
    """Every counted row of `paper` against every assumed constant that its runs use.

    Raises:
        WorkerDied: a process was killed.
    """
    counted = [row for row in paper.rows if row.runs and (row.tolerance is not None or row.calibration)]
    needed = {key: paper.runs[key] for row in counted for key in row.runs}
    constants = {key: _assumed(request) for key, request in needed.items()}
    changed = dict.fromkeys(path for found in constants.values() for path in found)
    items: dict[str, Request] = dict(needed)
    for path in changed:
        for key, request in needed.items():
            if path in constants[key]:
                text = f"{path}={constants[key][path].scaled}"
                items[f"{key}|{path}"] = replace(request, overrides=(*request.overrides, text))
    results: dict[str, RunResult] = {}

    def done(name: str, result: RunResult) -> None:
        results[name] = result
        if progress is not None:
            progress(len(results), len(items), name)

    each(run_request, items, done, processes)
    found: list[Sensitivity] = []
    for row in counted:
        ours = row.ours(results)
        for path in changed:
            touched = [key for key in row.runs if path in constants[key]]
            if not touched:
                continue
            other = {**results, **{key: results[f"{key}|{path}"] for key in touched}}
            after = row.ours(other)
            constant = constants[touched[0]][path]
            named = " ".join(f"{key}={value}" for key, value in row.row.items())
            found.append(
                Sensitivity(
                    paper.name, row.table, named, row.quantity, path, constant.text, constant.source, ours, after,
                    _elasticity(ours, after),
                )
            )  # fmt: skip
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Assumed:
    text: str
    source: str
    scaled: str


def _assumed(request: Request) -> Mapping[str, _Assumed]:
    """The assumed constants of a request's topology by their path for ``--set``, but those that the request gives."""
    _, topology, _ = prepare(request)
    given = {text.partition("=")[0].strip() for text in request.overrides}
    found: dict[str, _Assumed] = {}
    for entry in assumptions(topology):
        if entry.path.startswith("power."):
            continue  # no row is an energy, and no time depends on one
        path = _override_path(topology, entry)
        scaled = scaled_text(entry.text, 1 + STEP)
        if path not in given and scaled is not None:
            found.setdefault(path, _Assumed(entry.text, entry.source, scaled))
    for name, text in topology.options.items():
        path, scaled = f"options.{name}", scaled_text(text, 1 + STEP)
        if path not in given and scaled is not None and not name.startswith("price."):
            found.setdefault(path, _Assumed(text, f"option of {topology.name}", scaled))
    return found


def _override_path(topology: Topology, entry: Assumption) -> str:
    """What ``--set`` calls an assumed constant: of every copy, where devices or links are declared once."""
    name, dot, rest = entry.device.partition(".")
    if not dot:
        return f"{entry.device}.{entry.path}"
    group = topology.devices[name].group if name in topology.devices else name
    return f"link.{group}.{rest}.{entry.path}"


def scaled_text(text: str, factor: float) -> str | None:
    """A quantity as text, its number multiplied; None for what is no number (a word, yes or no)."""
    number, _, unit = text.strip().partition(" ")
    try:
        value = float(number)
    except ValueError:
        return None
    scaled = value * factor
    if unit in ("", "B", "bytes") and value == int(value) and value > 1 and not unit:
        scaled = float(round(scaled))  # a count stays whole
    return f"{scaled:.12g} {unit}".strip()


def _elasticity(ours: Value, changed: Value) -> float | None:
    if isinstance(ours, str) or isinstance(changed, str) or ours == 0:
        return None
    return (changed / ours - 1) / STEP
