"""What a published row is, and what a compared one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from controller.compare.kept import ProgressSink
from controller.compare.measure import CANNOT_RUN
from controller.experiment.run_spec import RunSpec

Value = float | str


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a row may take from a finished run.

    Attributes:
        ended: ``ok`` or the text of the outcome.
        tokens_per_s: generated tokens over prefill and decode [1/s]; None when it did not end well.
        time_s, prefill_s, decode_s: virtual time [s].
        phases: duration of every marked phase [s].
        busy_ratio: share of the run that each resource and queue was busy.
        peak_bytes: highest occupancy by ``device.tier`` [bytes].
        reports: numbers and short texts of the program.
        flash_bytes: read from and written to all flash tiers together [bytes].
        label_s: time of all ops of a label, side by side or not [s].
    """

    ended: str
    tokens_per_s: float | None
    time_s: float
    prefill_s: float | None
    decode_s: float | None
    phases: Mapping[str, float] = field(default_factory=dict)
    busy_ratio: Mapping[str, float] = field(default_factory=dict)
    peak_bytes: Mapping[str, int] = field(default_factory=dict)
    reports: Mapping[str, str | int | float] = field(default_factory=dict)
    flash_bytes: tuple[float, float] = (0.0, 0.0)
    label_s: Mapping[str, float] = field(default_factory=dict)


Results = Mapping[str, RunResult]


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One published value and how ours is computed.

    Attributes:
        table: which table of the paper.
        row: what identifies the row, as key and value.
        quantity: what was measured.
        published: the number, or the text of an outcome (``OOM``).
        unit: of the number.
        mark: P, PF, S, ... as in the paper's facts.
        ours: from the results of the runs it names.
        runs: keys of those runs.
        tolerance: largest |error| that passes; None where the row is only printed.
        calibration: whether a knob was set from this row, or what it hangs on was chosen with it in view.
        identity: whether it compares a declared input with itself: a price, a sum of sizes, the paper's own formula
            over what the sheet says. It must hold, and counts nowhere.
        why: what the published system does that ours does not, in a line, where the row is far off; "" when it is not
            known or not far.
    """

    table: str
    row: Mapping[str, str | int | float]
    quantity: str
    published: Value
    unit: str
    mark: str
    ours: Callable[[Results], Value]
    runs: tuple[str, ...]
    tolerance: float | None = None
    calibration: bool = False
    identity: bool = False
    why: str = ""


Preparation = Callable[[Sequence[PublishedRow], Path | None, ProgressSink | None, int | None], None]


@dataclass(frozen=True, slots=True)
class Paper:
    """A published system: its runs and its rows.

    Attributes:
        name: what ``reproduce`` calls it.
        title: for people.
        runs: requests by key.
        rows: in the order of printing.
        knob: all that was set from a row or chosen with a table in view, in words; "" when there is nothing.
        plain: what the same question gives at the command line without it, and how to ask with it; "" where the
            topology declares everything, so that both are the same.
        prepare: computes what rows read that no run of `runs` gives, given the rows, the folder where finished runs
            are kept, where progress goes, and how many run at once; None for nothing.
    """

    name: str
    title: str
    runs: Mapping[str, RunSpec]
    rows: tuple[PublishedRow, ...]
    knob: str = ""
    plain: str = ""
    prepare: Preparation | None = None

    def only(self, values: Collection[str]) -> Paper:
        """The paper with those of its rows that one of `values` identifies."""
        wanted = set(values)
        return replace(self, rows=tuple(row for row in self.rows if wanted.intersection(map(str, row.row.values()))))


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """A row with our value, as ``reproduce --json`` prints it.

    Attributes are those of `PublishedRow`, and:
        ours: our value, or how it failed.
        error: ours / published - 1; None unless both are numbers.
        holds: whether it is within its tolerance; None without one.
        ok: the same of a row that counts: neither calibration nor identity.
    """

    paper: str
    table: str
    row: str
    quantity: str
    published: Value
    ours: Value
    unit: str
    mark: str
    calibration: bool
    error: float | None
    tolerance: float | None
    ok: bool | None
    identity: bool = False
    holds: bool | None = None
    why: str = ""


def value_of(row: PublishedRow, results: Results) -> Value:
    """Our value of a row, or how the first of its runs failed that did."""
    ends = [results[key].ended for key in row.runs]
    refused = [ended for ended in ends if ended.startswith(CANNOT_RUN)]
    if refused:
        return refused[0]
    try:
        return row.ours(results)
    except Exception:
        failed = [ended for ended in ends if ended != "ok"]
        if not failed:
            raise
        return failed[0]


def compare(paper: Paper, row: PublishedRow, results: Results) -> ComparedRow:
    """Our value of a row beside the published one; error is ours / published - 1."""
    ours = value_of(row, results)
    error: float | None = None
    holds: bool | None = None
    if isinstance(ours, str) or isinstance(row.published, str):
        if row.tolerance is not None:
            holds = isinstance(ours, str) and isinstance(row.published, str) and ours.startswith(row.published)
    else:
        # Of what is published as nothing there is no share: the difference itself is held to the tolerance.
        error = ours / row.published - 1 if row.published else None
        if row.tolerance is not None:
            holds = abs(ours if error is None else error) <= row.tolerance
    named = " ".join(f"{key}={value}" for key, value in row.row.items())
    ok = None if row.calibration or row.identity else holds
    return ComparedRow(
        paper.name, row.table, named, row.quantity, row.published, ours, row.unit, row.mark, row.calibration,
        error, row.tolerance, ok, row.identity, holds, row.why,
    )  # fmt: skip


def identities(rows: Iterable[PublishedRow]) -> list[PublishedRow]:
    """`rows`, marked as comparing a declared input with itself."""
    return [replace(row, identity=True) for row in rows]


def throughput(key: str) -> Callable[[Results], Value]:
    """The tokens/s of a run, or the text of how it failed."""

    def ours(results: Results) -> Value:
        result = results[key]
        return result.ended if result.tokens_per_s is None else result.tokens_per_s

    return ours


def throughput_ratio(key: str, baseline: str) -> Callable[[Results], Value]:
    """Tokens/s of one run over that of another, or the text of how one of them failed."""

    def ours(results: Results) -> Value:
        pair = results[key], results[baseline]
        for result in pair:
            if result.tokens_per_s is None:
                return result.ended
        first, second = pair[0].tokens_per_s, pair[1].tokens_per_s
        assert first is not None and second is not None
        return first / second

    return ours
