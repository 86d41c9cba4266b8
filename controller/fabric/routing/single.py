"""One path for everything: that of the first names, as a network without load balancing has it.

Paper: none; what a spanning tree leaves of a fabric.
Follows: the route of `controller.topology.graph`, or the first working path where a link of it has failed.
Differs: nothing.
Checked by: tests/unit/controller/fabric/routing/test_policies.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from controller.fabric.routing.flow import Flow, Shares


class Single:
    """The first path that is up."""

    def assign(self, flows: Sequence[Flow]) -> Sequence[Shares]:
        return [((flow.up[0], Fraction(1)),) for flow in flows]


def single(options: Mapping[str, str]) -> Single:
    """The policy; it has no options."""
    return Single()
