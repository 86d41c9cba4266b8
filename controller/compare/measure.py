"""From a finished run to a row of the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from controller.compare.prices import purchase, rent
from controller.compare.question import Point
from controller.errors import UserError
from controller.execute.flash_traffic import wear_ratio
from controller.execute.path_shares import by_resource
from controller.experiment.result import Experiment
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.topology.schema import Topology
from node.errors import UserInput

YEARS = 3.0
"""Time over which a purchase is written off, at full use: an assumption that every report of dollars states."""
CANNOT_RUN = "cannot run: "
"""How the outcome of a request begins that was refused."""
_HOURS = YEARS * 365.25 * 24


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One row.

    Attributes:
        name: of the candidate.
        strategy, topology: what ran where.
        at: the swept values.
        outcome: ``ok``, or how it failed.
        tokens_per_s: generated or trained tokens over time [1/s].
        first_token_s: prefill of the whole batch [s]; None for training.
        per_token_s: decode time over the tokens of one sequence [s]; None for training.
        time_s: of the whole run [s].
        bound: what the largest part of the critical path went into, and its share of the time.
        joule_per_token: [J]; None where the sheets give no power.
        powerless: products whose sheets lack their power, or what they draw while idle: `joule_per_token` is a least.
        hour_usd: published rents of the devices that were used, together [USD/h].
        purchase_usd: published prices of the devices that were used, together [USD].
        usd_per_million_tokens: by rent where every price is published, else by the purchase over `YEARS` [USD].
        unpriced: products without a published purchase price, which `purchase_usd` leaves out.
        unrented: products without a published rent, which `hour_usd` leaves out.
        flash_written_bytes: by the whole run [bytes].
        source: name or path by which the topology was asked for; "" for the strategy's own.
        options: of the strategy, as it was run.
        flash_wear_ratio: share of its rated life that it took of the most worn drive; None where one declares none.
    """

    name: str
    strategy: str
    topology: str
    at: Mapping[str, str]
    outcome: str
    tokens_per_s: float | None = None
    first_token_s: float | None = None
    per_token_s: float | None = None
    time_s: float | None = None
    bound: str = ""
    joule_per_token: float | None = None
    purchase_usd: float | None = None
    usd_per_million_tokens: float | None = None
    unpriced: tuple[str, ...] = ()
    flash_written_bytes: float | None = None
    flash_wear_ratio: float | None = None
    powerless: tuple[str, ...] = ()
    hour_usd: float | None = None
    unrented: tuple[str, ...] = ()
    source: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    reports: Mapping[str, Any] = field(default_factory=dict)

    @property
    def energy_is_least(self) -> bool:
        """Whether a part of the energy is missing."""
        return bool(self.powerless)

    def to_json(self) -> dict[str, Any]:
        """The row as an object."""
        return asdict(self)


def measure(point: Point) -> ComparisonRow:
    """Runs a point on the virtual clock. A request that cannot be run is a row that says why.

    Of a point with rivals the fastest gives the row, and `reports` says under ``baseline`` what it was chosen from.
    """
    rows = [_measure(point, request) for request in (point.request, *point.rivals)]
    best = max(rows, key=lambda each: each.tokens_per_s or 0.0)
    if not point.rivals:
        return best
    return replace(best, reports={**best.reports, "baseline": "; ".join(map(_in_short, rows))})


def _in_short(each: ComparisonRow) -> str:
    rate = each.outcome if each.tokens_per_s is None else f"{each.tokens_per_s:.4g} tokens/s"
    return f"{each.strategy} {rate}"


def _measure(point: Point, request: RunSpec) -> ComparisonRow:
    try:
        experiment = run_experiment(request)
    except (UserError, UserInput) as error:
        return ComparisonRow(
            point.candidate.name, request.strategy, request.topology or "", dict(point.at), f"{CANNOT_RUN}{error}",
            source=request.topology or "", options=dict(request.options),
        )  # fmt: skip
    return row(point, experiment)


def row(point: Point, experiment: Experiment) -> ComparisonRow:
    """The row of a finished run."""
    outcome, topology = experiment.outcome, experiment.topology
    rate = experiment.tokens_per_s
    used = _used(experiment)
    bought, rented = purchase(topology, used), rent(topology, used)
    usd: float | None = None
    if rate is not None:
        if rented.usd is not None and not rented.unpriced:
            usd = rented.usd / (rate * 3600) * 1e6
        elif bought.usd is not None and not bought.unpriced:
            usd = bought.usd / _HOURS / (rate * 3600) * 1e6
    tokens = getattr(experiment.scenario, "output_tokens", None)
    decode_s = outcome.phases.get("decode")
    held = by_resource(experiment.bound_by)
    return ComparisonRow(
        point.candidate.name,
        experiment.strategy.name,
        topology.name,
        dict(point.at),
        outcome.ended,
        rate,
        outcome.phases.get("prefill") if outcome.ok else None,
        decode_s / (tokens - 1) if decode_s is not None and tokens and tokens > 1 and outcome.ok else None,
        outcome.time_s if outcome.ok else None,
        f"{held[0][0]} {held[0][1]:.0%}" if held else "",
        None if experiment.energy is None else experiment.energy.joule_per_token,
        bought.usd,
        usd,
        bought.unpriced,
        sum(use.written_bytes for use in outcome.flash.values()) if outcome.flash else None,
        _wear_ratio(experiment),
        _powerless(experiment),
        rented.usd,
        rented.unpriced,
        experiment.request.topology or "",
        dict(experiment.request.options),
        outcome.short_reports(),
    )


def _powerless(experiment: Experiment) -> tuple[str, ...]:
    """Products that energy lacks a part of, each once."""
    energy = experiment.energy
    if energy is None:
        return ()
    names = [*energy.left_out, *(each.device for each in energy.devices if each.lower_bound)]
    return tuple(dict.fromkeys(experiment.topology.devices[name].spec.product for name in names))


def _wear_ratio(experiment: Experiment) -> float | None:
    """Of the drive that the run wore most; None where one that was written to declares no endurance."""
    uses = experiment.outcome.flash.items()
    shares = [wear_ratio(experiment.topology, name, use.written_bytes) for name, use in uses if use.written_bytes]
    known = [share for share in shares if share is not None]
    return max(known) if known and len(known) == len(shares) else None


def _used(experiment: Experiment) -> frozenset[str]:
    """Devices that held or did something, with the hosts' CPUs, without which no device works."""
    topology: Topology = experiment.topology
    outcome = experiment.outcome
    names = {peak.rpartition(".")[0] for peak in outcome.peak_bytes}
    names |= {use.name.split(".", 1)[0] for use in outcome.resources}
    names |= {device.name for device in topology.of_kind("cpu")}
    return frozenset(names & set(topology.devices))
