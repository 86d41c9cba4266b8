"""Does a strategy compute what the plain run computes?"""

from __future__ import annotations

from functools import partial
from math import nan

from controller.conformance.toys import Toy
from controller.errors import BadWorkload
from controller.execute.local import one_thread
from controller.experiment.result import Experiment
from controller.strategies.entry import TRAINING

LOGIT_TOLERANCE = 1e-3
"""Largest difference of a logit: fp32 sums in another order come to 1e-5, what is wrong to more than 0.1."""
LEAST_TOKENS = 3
"""Different tokens that a toy must generate: a text of one token would hide mistakes."""


def wrong_values(toy: Toy, *, backwards: bool = False) -> list[str]:
    """Complaints about the values of a strategy, computed in this process.

    Args:
        toy: what to run.
        backwards: run the ops of its plans as far from program order as their edges allow.
    """
    if not toy.strategy.has_values:
        try:
            local_experiment(toy, backwards=backwards)
        except BadWorkload:
            return []
        return [f"{toy.strategy.name} ran with values, yet the table says that it has none: remove has_values=False"]
    found = local_experiment(toy, backwards=backwards)
    if not found.outcome.ok:
        return [f"the run ended with: {found.outcome.ended}"]
    return _wrong_training(found) if toy.strategy.task == TRAINING else _wrong_tokens(found)


def local_experiment(toy: Toy, *, backwards: bool = False) -> Experiment:
    """Runs a toy in this process, on memory that holds no number until somebody writes one."""
    from controller.experiment.generation import run_generation
    from controller.experiment.local import run_scenario
    from controller.experiment.training import run_training

    run = run_training if toy.strategy.task == TRAINING else run_generation
    strict = partial(run_scenario, blank=nan, backwards=backwards)
    with one_thread():  # the plain run too
        return run(toy.request, toy.strategy, toy.topology, toy.shape, None, None, strict)


def _wrong_tokens(found: Experiment) -> list[str]:
    values, request = found.comparison, found.request
    if "tokens_equal" not in values:
        return ["the program returned no tokens: return a GenerationResult with tokens and logits where run.live"]
    equal, compared, worst = values["tokens_equal"], values["tokens_compared"], values["max_logit_difference"]
    complaints: list[str] = []
    if compared != request.batch * request.output_tokens or equal != compared:
        complaints.append(f"{equal} of {compared} tokens are those of the plain run")
    if not worst < LOGIT_TOLERANCE:  # what is no number is not less
        complaints.append(f"a logit differs by {worst:.3g} from the plain run's; at most {LOGIT_TOLERANCE:g} is right")
    if len({token for row in values["tokens"] for token in row}) < LEAST_TOKENS:
        complaints.append(f"fewer than {LEAST_TOKENS} different tokens came: take another seed or prompt")
    return complaints


def _wrong_training(found: Experiment) -> list[str]:
    values = found.comparison
    if values.get("values_equal"):
        return []
    if "losses" not in values:
        return ["the program returned no losses: return a TrainingResult with losses and parameters where run.live"]
    return [
        f"losses {values['losses']} against {values['reference_losses']} of the plain run; a parameter differs by "
        f"{values['max_parameter_difference']}, at most {values['parameter_tolerance']:g} is right"
    ]
