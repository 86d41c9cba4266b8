"""What context a virtual run reads, so that its rate is not taken for the one that a reproduction prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.models.scenario import Scenario
from controller.reproduce.table import load_paper

if TYPE_CHECKING:
    from controller.experiment.result import Experiment


def context_note(experiment: Experiment) -> str:
    """The context that attention reads in a virtual generation that a reproduction has too; "" for other runs."""
    scenario, request = experiment.scenario, experiment.request
    if not isinstance(scenario, Scenario) or request.live:
        return ""
    mean = scenario.mean_context
    if scenario.effective_context is not None:
        return f"{scenario.effective_context:g} tokens are read on average, not all {mean:g} (--effective-context)"
    if experiment.topology.source != experiment.strategy.topology:
        return ""
    for run in load_paper("instinfer").runs.values():
        if run.effective_context and (run.strategy, run.model) == (experiment.strategy.name, experiment.shape.name):
            stated = (run.prompt_tokens or 0) + run.output_tokens / 2
            scaled = run.effective_context / stated * mean
            return (
                f"all of it is read, {mean:g} tokens on average; `reproduce instinfer` has other rates, as it reads "
                f"{scaled / mean:.0%} (its knob; here --effective-context {scaled:.3g})"
            )
    return ""
