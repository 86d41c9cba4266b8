"""What a link is made of: rates and latency with their sources, and the condition it is in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from controller.topology.declaration import Condition, Quantity, Wire
from controller.topology.schema import Endpoint, Link
from node.hardware.device import Constant
from node.hardware.units import format_quantity


@dataclass(frozen=True, slots=True)
class Cable:
    """A link without its ends; many links share one.

    Attributes:
        forward_bytes_per_s, backward_bytes_per_s: capacity per direction [bytes/s].
        latency_s: paid once by a transfer that passes [s].
        constants: ``forward``, ``backward`` and ``latency`` with kind and source.
        failed: whether nothing passes.
        shared: both directions share one capacity.
        per_flow: the capacity is that of each flow alone.
    """

    forward_bytes_per_s: float
    backward_bytes_per_s: float
    latency_s: float
    constants: Mapping[str, Constant]
    failed: bool = False
    shared: bool = False
    per_flow: bool = False

    def link(self, name: str, a: Endpoint, b: Endpoint, dimension: int = -1) -> Link:
        """The link of this cable from `a` to `b`, in a dimension of a torus."""
        rates = self.forward_bytes_per_s, self.backward_bytes_per_s
        return Link(name, a, b, *rates, self.latency_s, self.constants, self.shared, dimension, self.per_flow)

    def scaled(self, share: float, why: str) -> Cable:
        """The same with `share` of the capacity in each direction; `why` ends the source of both."""
        forward, backward = self.forward_bytes_per_s * share, self.backward_bytes_per_s * share
        constants = scaled_constants(self.constants, share, why)
        return replace(self, forward_bytes_per_s=forward, backward_bytes_per_s=backward, constants=constants)


def cable_of(wire: Wire, where: str) -> Cable:
    """The cable that a file declares; `where` is its file and line."""
    latency = _constant("latency", wire.latency, where)
    if not wire.has_rates():
        # What it passes says how fast it is; `passing.py` fills that in.
        return Cable(math.inf, math.inf, wire.latency.amount, {"latency": latency}, wire.failed)
    forward, backward = wire.sides()
    constants = {
        "forward": _constant("forward", forward, where),
        "backward": _constant("backward", backward, where),
        "latency": latency,
    }
    cable = Cable(
        forward.amount, backward.amount, wire.latency.amount, constants, wire.failed, wire.shared, wire.per_flow
    )
    return cable if wire.capacity == 1 else cable.scaled(wire.capacity, loss(wire, where))


def loss(condition: Condition, where: str) -> str:
    """Why a link has less than its cable."""
    return f"{condition.capacity:g} of it left, as {where} says"


def scaled_constants(constants: Mapping[str, Constant], share: float, why: str) -> dict[str, Constant]:
    """The constants of a link with `share` of its capacity left."""

    def changed(constant: Constant) -> Constant:
        if constant.path == "latency":
            return constant
        amount = float(constant.value) * share
        source = f"{constant.source} ({constant.text}); {why}"
        return replace(constant, value=amount, text=format_quantity(amount, "bytes/s"), source=source)

    return {path: changed(constant) for path, constant in constants.items()}


def _constant(path: str, quantity: Quantity, where: str) -> Constant:
    """A bare text is the word of the file's author: assumed, and reports say so."""
    return Constant(
        path, quantity.value, quantity.amount, quantity.kind or "assumed", quantity.source or f"declared in {where}"
    )
