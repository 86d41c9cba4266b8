"""How a fault goes over time: the instants at which its level changes, and to what share of its severity.

A ramp rises in `RAMP_STEPS` equal steps. What goes on and off is on first. Random flips last exponentially long, drawn
from the seed of the fault alone, so that further faults change nothing about them.
"""

from __future__ import annotations

from math import inf

import numpy as np

from controller.errors import BadTopology
from controller.faults.kinds import FLAP_PERIOD_S
from controller.topology.fault import CORRUPT, DEAD, FLAP, FLIPS, FROZEN, ON_OFF, RAMP, STEP, Fault, Shape

RAMP_STEPS = 16
MOST_CHANGES = 100_000
"""Changes that one fault may have: more would be a run of their own."""

Profile = tuple[tuple[float, float], ...]
"""(instant [s], level from then on), ascending; the level before the first is 0."""


def shape_of(fault: Fault) -> Shape:
    """The shape that counts: a flap without one goes down and up once a second."""
    if fault.kind == FLAP and fault.shape.kind == STEP:
        return Shape(ON_OFF, on_s=FLAP_PERIOD_S * fault.severity, off_s=FLAP_PERIOD_S * (1.0 - fault.severity))
    return fault.shape


def check_shape(fault: Fault) -> None:
    """Refuses a shape that does not fit its fault.

    Raises:
        BadTopology: says what to write.
    """
    shape = shape_of(fault)
    if shape.kind == STEP:
        return
    if shape.kind == RAMP:
        if fault.kind in (DEAD, FROZEN, FLAP, CORRUPT):
            raise BadTopology(f"{fault}: {fault.kind!r} has no ramp, it is or is not; write a step, on_off or flips")
        if not 0.0 < shape.rise_s <= (inf if fault.for_s is None else fault.for_s):
            raise BadTopology(
                f"{fault}: a ramp of {shape.rise_s:g} s; write a time above 0 s, at most that of the fault"
            )
        return
    if shape.kind not in (ON_OFF, FLIPS):
        raise BadTopology(f"{fault}: no shape {shape.kind!r}; write step, ramp, on_off or flips")
    if not (shape.on_s > 0.0 and shape.off_s > 0.0):
        raise BadTopology(f"{fault}: on for {shape.on_s:g} s and off for {shape.off_s:g} s; write two times above 0 s")
    if fault.for_s is None:
        raise BadTopology(f"{fault}: it goes on and off without an end; write how long it lasts, 'for: 10 s' in a file")
    if fault.for_s / (shape.on_s + shape.off_s) * 2 > MOST_CHANGES:
        raise BadTopology(
            f"{fault}: it changes more than {MOST_CHANGES:,} times; write a shorter 'for', or longer times on and off"
        )


def profile(fault: Fault) -> Profile:
    """When the level of `fault` changes, and to what; the last entry is its end, when it has one."""
    shape, end = shape_of(fault), fault.until_s
    if shape.kind == STEP:
        levels = [(fault.at_s, 1.0)]
    elif shape.kind == RAMP:
        levels = [
            (fault.at_s + shape.rise_s * step / RAMP_STEPS, (step + 1) / RAMP_STEPS) for step in range(RAMP_STEPS)
        ]
    else:
        levels = _flips(fault, shape)
    kept = [(at_s, level) for at_s, level in levels if at_s < end]
    if end < inf and (not kept or kept[-1][1] > 0.0):
        kept.append((end, 0.0))
    return tuple(kept)


def _flips(fault: Fault, shape: Shape) -> list[tuple[float, float]]:
    random = np.random.default_rng([shape.seed, 0x666C]) if shape.kind == FLIPS else None
    at_s, level = fault.at_s, 1.0
    found: list[tuple[float, float]] = []
    while at_s < fault.until_s and len(found) <= MOST_CHANGES:
        found.append((at_s, level))
        mean_s = shape.on_s if level else shape.off_s
        at_s += float(random.exponential(mean_s)) if random is not None else mean_s
        level = 1.0 - level
    return found
