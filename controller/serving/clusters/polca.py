"""POLCA: frequency caps of servers in a row whose power comes near what is provisioned.

Paper: Patel et al., 'Characterizing Power Management Opportunities for LLMs in the Cloud' (POLCA), arXiv 2308.12908,
    section 6.
Follows: above 100 % of the provisioned power every device brakes to 288 MHz; above 89 % low priority is locked to 1110
    MHz and, where that was not enough, high priority to 1305 MHz; above 80 % low priority to the base clock, 1275 MHz;
    caps are lifted 5 points lower. A command takes 40 s out of band, a brake 5 s.
Differs: the frequency scales the rate of kernels that are bound by arithmetic and the power above idle in proportion.
Checked by: tests/unit/controller/serving/clusters/test_polca.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FULL_MHZ, BASE_MHZ, LOW_MHZ, HIGH_MHZ, BRAKE_MHZ = 1410, 1275, 1110, 1305, 288
FIRST, SECOND, BRAKE, HYSTERESIS = 0.80, 0.89, 1.0, 0.05
COMMAND_S: Final = 40.0
BRAKE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class PowerCaps:
    """Clocks of a row [MHz].

    Attributes:
        low, high: of servers of low and of high priority.
        braking: whether the brake is on.
    """

    low: int = FULL_MHZ
    high: int = FULL_MHZ
    braking: bool = False


def decide_caps(caps: PowerCaps, power_ratio: float) -> PowerCaps:
    """The clocks that a row should have.

    Args:
        caps: as they are.
        power_ratio: power of the row over what is provisioned.
    """
    if power_ratio > BRAKE:
        return PowerCaps(BRAKE_MHZ, BRAKE_MHZ, True)
    if power_ratio > SECOND:
        return PowerCaps(LOW_MHZ, HIGH_MHZ if caps.low <= LOW_MHZ else caps.high)
    if power_ratio > FIRST:
        keeps = caps.low <= LOW_MHZ and power_ratio > SECOND - HYSTERESIS
        return PowerCaps(LOW_MHZ if keeps else BASE_MHZ, caps.high if keeps else FULL_MHZ)
    if power_ratio > FIRST - HYSTERESIS and caps.low < FULL_MHZ:
        return PowerCaps(max(caps.low, BASE_MHZ), FULL_MHZ)
    return PowerCaps()


@dataclass(frozen=True, slots=True)
class CapCourse:
    """What a policy did to a row over time.

    Attributes:
        brakes: how often the brake came on.
        low_slowdown, high_slowdown: time lost by either priority, as a share of the whole.
        peak_ratio: highest power over what is provisioned.
    """

    brakes: int
    low_slowdown: float
    high_slowdown: float
    peak_ratio: float


def cap_course(demand: Sequence[tuple[float, float]], step_s: float = 1.0) -> CapCourse:
    """Runs the policy over a course of power.

    Args:
        demand: power of low and of high priority without caps, over what is provisioned, every `step_s`.
        step_s: distance of two values [s].
    """
    caps = PowerCaps()
    pending: list[tuple[float, PowerCaps]] = []
    brakes, low_lost, high_lost, peak = 0, 0.0, 0.0, 0.0
    for index, (low, high) in enumerate(demand):
        now = index * step_s
        while pending and pending[0][0] <= now:
            caps = pending.pop(0)[1]
        power = low * caps.low / FULL_MHZ + high * caps.high / FULL_MHZ
        peak = max(peak, power)
        low_lost += 1 - caps.low / FULL_MHZ
        high_lost += 1 - caps.high / FULL_MHZ
        wanted = decide_caps(pending[-1][1] if pending else caps, power)
        if wanted != (pending[-1][1] if pending else caps):
            brakes += wanted.braking
            pending.append((now + (BRAKE_S if wanted.braking else COMMAND_S), wanted))
            pending.sort(key=lambda entry: entry[0])
    count = max(1, len(demand))
    return CapCourse(brakes, low_lost / count, high_lost / count, peak)
