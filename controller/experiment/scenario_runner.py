"""What an executor with values is to those that make its data and compare its results."""

from __future__ import annotations

from typing import Protocol

from controller.execute.phases import Phases
from controller.execute.trace import Trace
from controller.experiment.result import AnyScenario, Experiment
from controller.experiment.run_spec import RunSpec
from controller.models.shape import ModelShape
from controller.strategies.entry import Strategy
from controller.topology.schema import Topology


class RunScenario(Protocol):
    """`run_scenario` of `controller.experiment.live` or `controller.experiment.local`."""

    def __call__(
        self,
        request: RunSpec,
        strategy: Strategy,
        topology: Topology,
        shape: ModelShape,
        scenario: AnyScenario,
        trace: Trace | None,
        phases: Phases,
    ) -> Experiment:
        """Runs `strategy` and compares nothing."""
