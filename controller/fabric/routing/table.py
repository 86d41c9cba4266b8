"""The table of routing policies: adding one is one file and one line here.

A topology chooses with its option ``routing`` (``--routing``, or ``--set options.routing=ecmp``); without it everything
takes the first path by name.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from controller.errors import BadTopology
from controller.fabric.routing.flow import RoutingPolicy
from controller.topology.nearest import hint

ROUTINGS: Mapping[str, str] = {
    "single": "controller.fabric.routing.single:single",
    "ecmp": "controller.fabric.routing.ecmp:ecmp",
    "spray": "controller.fabric.routing.spray:spray",
    "ethereal": "controller.fabric.routing.ethereal:ethereal",
    "c4p": "controller.fabric.routing.c4p:c4p",
}
"""Name to ``module:function``; the function makes the `RoutingPolicy` from the options of the topology."""

OPTIONS: Mapping[str, tuple[str, ...]] = {"ecmp": ("routing.seed", "routing.connections")}
"""Options that a policy reads, beside ``routing`` itself."""

DEFAULT = "single"


def routing_name(options: Mapping[str, str]) -> str:
    """The policy that a topology chose.

    Raises:
        BadTopology: no such policy, or an option that it does not have; names the nearest one.
    """
    name = options.get("routing", DEFAULT)
    if name not in ROUTINGS:
        raise BadTopology(f"option routing: no policy {name!r}{hint(name, ROUTINGS, 'policies')}")
    for key in options:
        if key.startswith("routing.") and key not in OPTIONS.get(name, ()):
            known = ", ".join(OPTIONS.get(name, ())) or "none"
            raise BadTopology(f"option {key}: routing {name!r} has no such option; it has {known}")
    return name


def policy_of(options: Mapping[str, str]) -> RoutingPolicy:
    """The policy that a topology chose, made now.

    Raises:
        BadTopology: as `routing_name`, or a value that it cannot take.
    """
    module, _, function = ROUTINGS[routing_name(options)].partition(":")
    policy: RoutingPolicy = getattr(importlib.import_module(module), function)(options)
    return policy
