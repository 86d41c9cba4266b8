"""A campaign: many seeded entries on one cluster, each run with its twin, and every verdict scored.

Nothing of an entry depends on another one, so entries come in any order and, with `--processes`, on several cores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from controller.collectives.group import Group, first_ranks
from controller.diagnosis.detectors.table import DetectorEntry, chosen
from controller.diagnosis.drawn_entries import entries_of_rates
from controller.diagnosis.entries import CampaignEntry, draw_entries
from controller.diagnosis.errors import BadCampaign
from controller.diagnosis.executed import Executions
from controller.diagnosis.imperfect import Imperfect
from controller.diagnosis.nested_workload import NESTED, NestedWorkload
from controller.diagnosis.noise import LONGEST_BLOCK, Noise, crossings
from controller.diagnosis.probing import Prober
from controller.diagnosis.replay import HEARTBEAT_S, Replay
from controller.diagnosis.replay_error import replay_error
from controller.diagnosis.scores import GRACE_S, CampaignRow, EntryScore, Quiet, rows_of, score_entry
from controller.diagnosis.truth import Truth
from controller.diagnosis.twin import Audience, TwinRun, Watched, run_twins
from controller.diagnosis.verdicts import Detector
from controller.diagnosis.workloads import DIRECT_UP_TO, SingleWorkload, Workload
from controller.topology.nearest import hint
from controller.topology.schema import Topology

SINGLE = {"ring": ("all_reduce", "ring"), "tree": ("all_reduce", "tree"), "all_to_all": ("all_to_all", "direct")}
COMPUTE_S = 1.0
"""What a rank computes in a step of a campaign [s]; assumed."""
MOST_RANKS, MOST_FAULTS, MOST_HOURS = 4096, 100_000, 100_000.0
BLOCK = 64
Tell = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class CampaignSpec:
    """What a campaign is to do.

    Attributes:
        topology: the declared cluster.
        ranks: how many.
        workload: ``ring``, ``tree``, ``all_to_all`` or ``tpT.ppP.dpD``.
        seed: of everything that is drawn.
        faults: number of entries.
        rates: that entries are drawn from (`drawn_entries`); None for all kinds alike.
        detectors: names.
        loss_ratio, offset_s: what the telemetry lacks.
        healthy_hours: that detectors watch while nothing is wrong.
    """

    topology: Topology
    ranks: int
    workload: str
    seed: int
    faults: int
    rates: str | None = None
    detectors: tuple[str, ...] = ("default",)
    loss_ratio: float = 0.0
    offset_s: float = 0.0
    healthy_hours: float = 10.0


@dataclass(frozen=True, slots=True)
class CampaignResult:
    """What came of a campaign.

    Attributes:
        rows: detector x fault x severity.
        executions: how many times collectives were executed.
        unobservable: entries that nobody could have noticed.
        replay_error: mean and largest relative error of a replayed step against its execution.
    """

    rows: tuple[CampaignRow, ...]
    executions: int
    unobservable: int
    replay_error: tuple[float, float]


def workload_of(name: str, topology: Topology, group: Group) -> Workload:
    """The workload of a name.

    Raises:
        BadCampaign: no such workload, or one of another number of ranks.
    """
    executions = Executions(topology)
    if name in SINGLE:
        collective, algorithm = SINGLE[name]
        if name == "all_to_all" and group.world_size > DIRECT_UP_TO and len(group.by_host()) > 1:
            algorithm = "hierarchical"
        return SingleWorkload(executions, group, collective, algorithm)
    match = NESTED.match(name)
    if match is None:
        raise BadCampaign(f"no workload {name!r}{hint(name, (*SINGLE, 'tp8.pp4.dp8'), 'workloads')}")
    shards, stages, replicas = (int(each) for each in match.groups())
    if shards * stages * replicas != group.world_size or not prod((shards, stages, replicas)):
        raise BadCampaign(
            f"{name} is a job of {shards * stages * replicas} ranks, and {group.world_size} take part; write "
            f"--ranks {max(shards * stages * replicas, 1)}, or another shape"
        )
    return NestedWorkload(executions, group, (stages, replicas, shards))


class Campaign:
    """A campaign that is ready to run.

    Args:
        spec: what to do.

    Raises:
        BadCampaign: what does not fit together.
        UserError: an unknown detector, or ranks that the topology lacks.
    """

    def __init__(self, spec: CampaignSpec) -> None:
        for what, value, least, most in (
            ("--ranks", spec.ranks, 2, MOST_RANKS), ("--faults", spec.faults, 0, MOST_FAULTS),
            ("--healthy", spec.healthy_hours, 0, MOST_HOURS),
        ):  # fmt: skip
            if not least <= value <= most:
                raise BadCampaign(f"{what} is {value:,}; write a number from {least:,} to {most:,}")
        self.spec = spec
        self.detectors: Mapping[str, DetectorEntry] = chosen(spec.detectors)
        group = first_ranks(spec.topology, spec.ranks)
        self.workload = workload_of(spec.workload, spec.topology, group)
        self.hosts = tuple(spec.topology.devices[name].host for name in group.devices)
        members = frozenset(group.devices)
        links = tuple(link.name for link in spec.topology.links if {link.a.vertex, link.b.vertex} & members)
        self.entries: tuple[CampaignEntry, ...] = (
            draw_entries(spec.faults, spec.seed, group.devices, links)
            if spec.rates is None
            else entries_of_rates(spec.faults, spec.seed, spec.topology, group.devices, spec.rates)
        )
        self.truth = Truth(spec.topology, self.workload)
        self.patience_s = max(each.patience_s for each in self.detectors.values())
        self._crossing = crossings(self.hosts, *self.workload.pairs)

    def noise(self, seed: tuple[int, ...]) -> Noise:
        """The noise of a run."""
        return Noise(seed, len(self.hosts), self.workload.replica, self._crossing)

    def run_entry(self, entry: CampaignEntry, also: Mapping[str, Detector] | None = None) -> TwinRun:
        """Runs one entry and its twin.

        Args:
            entry: what is injected.
            also: detectors that watch beside those of the campaign.
        """
        seed = (self.spec.seed, entry.number)
        noise = self.noise(seed)
        steps = entry.onset_step + entry.steps + 12
        blocks = [noise.block(BLOCK) for _ in range(-(-steps // BLOCK))]
        detectors = {name: each.make() for name, each in self.detectors.items()} | dict(also or {})
        imperfect = Imperfect(seed, len(self.hosts), self.spec.loss_ratio, self.spec.offset_s)
        return run_twins(
            entry, self.workload, self.hosts, COMPUTE_S, blocks, detectors, self.patience_s, imperfect
        )  # fmt: skip

    def score(self, run: TwinRun) -> dict[str, EntryScore | None]:
        """How the detectors did; None where the faults could not be observed."""
        return {
            name: score_entry(run, run.watched[name], self.truth, GRACE_S, entry.patience_s)
            if run.is_observable
            else None
            for name, entry in self.detectors.items()
        }

    def quiet(self, hours: float, tell: Tell | None = None) -> dict[str, Quiet]:
        """What the detectors say while nothing is wrong, for so many hours of the job."""
        if hours <= 0:
            return dict.fromkeys(self.detectors, Quiet(0.0, 0))
        noise = self.noise((self.spec.seed, 0x717565))
        first = noise.block(LONGEST_BLOCK)
        job = Replay(self.workload, self.hosts, COMPUTE_S, blocks := [first])
        watched = {name: Watched() for name in self.detectors}
        made = {name: each.make() for name, each in self.detectors.items()}
        audience = Audience(made, watched, Prober(self.workload, COMPUTE_S))
        imperfect = Imperfect((self.spec.seed, 0x717565), len(self.hosts), self.spec.loss_ratio, self.spec.offset_s)
        audience.hear(job.started)
        step, beat_at, end_at = 0, 0.0, hours * 3600.0
        while job.now < end_at:
            if step and step % LONGEST_BLOCK == 0:
                blocks[0] = noise.block(LONGEST_BLOCK)
                if tell is not None:
                    tell(int(job.now), int(end_at), "healthy seconds")
            events = job.step(step % LONGEST_BLOCK, number=step)
            for event in events:
                while beat_at <= event.at_s:
                    audience.hear(job.heartbeats(beat_at))
                    beat_at += HEARTBEAT_S
                audience.hear(imperfect.seen(event))
            step += 1
        watching = job.now / 3600.0
        return {name: Quiet(watching, sum(said.raised for _, said in watched[name].said)) for name in watched}


def summed_up(campaign: Campaign, runs: Sequence[TwinRun], quiet: Mapping[str, Quiet]) -> CampaignResult:
    """The table of a campaign whose entries have been run."""
    scored = [campaign.score(run) for run in runs]
    scores = {name: [each[name] for each in scored] for name in campaign.detectors}
    rows = rows_of(runs, scores, quiet)
    executions = campaign.workload.executions.count
    error = replay_error(campaign.workload, campaign.entries, campaign.noise((campaign.spec.seed, 0x657272)), COMPUTE_S)
    return CampaignResult(tuple(rows), executions, sum(not run.is_observable for run in runs), error)
