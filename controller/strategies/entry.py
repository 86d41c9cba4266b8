"""What the table of strategies says of one."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from controller.program.options import Options
from controller.program.run import AnyProgram, Run

StrategyFunction = Callable[[Run, Any], AnyProgram]
"""Takes the scenario of its task: `Scenario` (generation) or `TrainingScenario` (training)."""

GENERATION, TRAINING = "generation", "training"


@dataclass(frozen=True, slots=True)
class Strategy:
    """One entry.

    Attributes:
        name: what the command line calls it.
        summary: one line for people.
        target: ``module:function``; the function is a `StrategyFunction`.
        topology: what it runs on unless told otherwise.
        declared: ``module:class`` of its own `Options`, whose ``page_size`` is ``--page-size VALUE`` on the command
            line; "" where it has none; None where it takes anything that ``--option name=value`` says, as text.
        task: what it does, and so which workload it takes: ``generation`` (batch, prompt and output tokens) or
            ``training`` (batch, seq, steps).
        reference: ``module:function`` of (weights, prompt_tokens, options) that gives the plain decoder to compare a
            live run with, or None for the model as it is; "" where it is always that. A name, since it needs torch.
        has_values: False where it only says how long it takes, and refuses an executor with values.
        takes: parts of models beyond those that every strategy takes, as `ModelShape.parts` has them.
    """

    name: str
    summary: str
    target: str
    topology: str
    declared: str | None = ""
    task: str = GENERATION
    reference: str = ""
    has_values: bool = True
    takes: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, str] | None:
        """Name to explanation of the strategy's own options; None where it takes anything."""
        return None if self.declared is None else self._options_class(self.declared).explained()

    def read_options(self, given: Mapping[str, str]) -> Mapping[str, str]:
        """Values of the options that were given; of a user's own file the texts.

        Raises:
            BadWorkload: an unknown option, or a text that is no value of its option.
        """
        return given if self.declared is None else self._options_class(self.declared).read(given, self.name)

    def _options_class(self, declared: str) -> type[Options]:
        module, _, name = declared.partition(":")
        found: type[Options] = getattr(importlib.import_module(module), name) if declared else Options
        return found

    def program(self) -> StrategyFunction:
        """The function behind the entry, imported now."""
        module, _, function = self.target.partition(":")
        loaded: StrategyFunction = getattr(importlib.import_module(module), function)
        return loaded
