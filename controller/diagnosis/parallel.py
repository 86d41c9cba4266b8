"""Spreads the entries of a campaign over the cores of this machine; the result is that of one process, bit by bit."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from controller.diagnosis.campaign import Campaign, CampaignResult, CampaignSpec, Tell, summed_up
from controller.diagnosis.scores import Quiet
from controller.diagnosis.twin import TwinRun

LEAST = 40
"""Entries below which a second process costs more than it saves."""
QUIET = -1
_campaign: Campaign | None = None


def run_on_cores(spec: CampaignSpec, processes: int | None = None, tell: Tell | None = None) -> CampaignResult:
    """Runs a campaign.

    Args:
        spec: what to do.
        processes: how many at once; None for as many as this machine has cores.
        tell: told of progress.

    Raises:
        BadCampaign: what does not fit together.
    """
    campaign = Campaign(spec)
    count = min(processes or os.cpu_count() or 1, max(len(campaign.entries) // LEAST + 1, 1))
    tasks = [*range(len(campaign.entries))]
    runs: dict[int, TwinRun] = {}
    quiet: Mapping[str, Quiet] = {}
    if count == 1:
        for number in tasks:
            _say(tell, campaign, number)
            runs[number] = campaign.run_entry(campaign.entries[number])
        quiet = campaign.quiet(spec.healthy_hours, tell)
    else:
        # Processes begin as copies of this one: compiling the collectives takes longer than many entries.
        with _shared(campaign), multiprocessing.get_context("fork").Pool(count) as pool:
            for number, made in pool.imap_unordered(_task, [QUIET, *tasks]):
                if isinstance(made, TwinRun):
                    runs[number] = made
                else:
                    quiet = made
                _say(tell, campaign, len(runs))
    return summed_up(campaign, [runs[number] for number in tasks], quiet)


def _say(tell: Tell | None, campaign: Campaign, done: int) -> None:
    if tell is not None:
        tell(done, len(campaign.entries), "faults")


@contextmanager
def _shared(campaign: Campaign) -> Iterator[None]:
    global _campaign
    _campaign = campaign
    try:
        yield
    finally:
        _campaign = None


def _task(number: int) -> tuple[int, TwinRun | dict[str, Quiet]]:
    assert _campaign is not None, "a process of the pool has its campaign"
    if number == QUIET:
        return number, _campaign.quiet(_campaign.spec.healthy_hours)
    return number, _campaign.run_entry(_campaign.entries[number])
