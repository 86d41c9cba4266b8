"""Ideal packet spraying: every flow uses every path, in equal parts.

Paper: Dixit et al., On the impact of packet spraying in data center networks, INFOCOM 2013.
Follows: each of s equal paths carries 1/s of the flow.
Differs: ideal: no reordering, no queues, no packets. What spraying loses to those is outside a fluid model.
Checked by: tests/unit/controller/fabric/routing/test_policies.py, tests/property/test_ethereal.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from controller.fabric.routing.flow import Flow, Shares


class Spray:
    """All paths that are up, evenly."""

    def assign(self, flows: Sequence[Flow]) -> Sequence[Shares]:
        return [tuple((number, Fraction(1, len(flow.up))) for number in flow.up) for flow in flows]


def spray(options: Mapping[str, str]) -> Spray:
    """The policy; it has no options."""
    return Spray()
