"""The compiled forms of the plans of a run, of which a program repeats few."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from controller.engine import Engine
from controller.execute.costs import Costs
from controller.execute.template import Bound, Template
from controller.fabric.loads import Fabric
from controller.plan.memo import PlanMemo
from controller.plan.ops import Plan
from controller.plan.size import Bindings

MOST_TEMPLATES = 64
"""Plans whose compiled form a run keeps, the latest; a program repeats few, and one that makes a plan a step none."""
_Edges = Mapping[int, tuple[int, ...]]


class CompiledPlans:
    """Compiles plans, and keeps what it has compiled."""

    def __init__(self, fabric: Fabric, engine: Engine, costs: Costs) -> None:
        self._fabric, self._engine, self._costs = fabric, engine, costs
        self._connection_count = 0
        self._edged: PlanMemo[tuple[_Edges, Plan]] = PlanMemo()
        self._templates: PlanMemo[tuple[object, Template]] = PlanMemo(most=MOST_TEMPLATES)

    def compiled(self, plan: Plan, extra_after: _Edges, bindings: Bindings, epoch: object) -> tuple[Template, Bound]:
        """The arrays of a plan for some sizes; compiled anew only when an op loads other resources than before.

        Args:
            plan: what is run.
            extra_after: edges that its allocations need beside its own.
            bindings: of its open sizes.
            epoch: stands for the state of all parts; another one asks for another form.
        """
        plan = self._with_edges(plan, extra_after)
        kept = self._templates.get(plan)
        if kept is not None and kept[0] is epoch:
            bound = kept[1].bind(bindings)
            if bound is not None:
                return kept[1], bound
        template = Template(plan, self._costs, bindings)
        self._templates.put(plan, (epoch, template))
        self._open_connections()
        return template, template.first_bound()

    def _open_connections(self) -> None:
        """Gives every connection that a template has named its queue in the engine."""
        new = len(self._fabric.connections) - self._connection_count
        if new:
            self._engine.add_queues(np.ones(new, np.int32), pipelined=True)
            self._connection_count += new

    def _with_edges(self, plan: Plan, extra_after: _Edges) -> Plan:
        """`plan` with further edges: for the same edges the same object, whose compiled form is kept."""
        if not extra_after:
            return plan
        kept = self._edged.get(plan)
        if kept is not None and kept[0] == extra_after:
            return kept[1]
        after = tuple(tuple(sorted({*waits, *extra_after.get(index, ())})) for index, waits in enumerate(plan.after))
        made = replace(plan, after=after)
        self._edged.put(plan, (extra_after, made))
        return made
