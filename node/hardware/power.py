"""What the power limit leaves of a peak, and the energy of a run.

Model (limit): voltage follows clock, so that switching power grows with rate x clock^2, and with the third power of the
clock at full occupation. A chip whose matrix units are busy slows down until static and switching power meet the limit:
share = efficiency x min(1, cube root(switching budget / switching power at the printed clock)). The switching energy
at 1 GHz is one number for a process; it comes from what long products reach on an H100 SXM (TSMC 4N), and a node before
it takes 1 / 0.7 of that (TSMC: 30 % less power from N7 to N5).
Model (energy): idle power all the time, and the difference to busy power while something runs.
Source: P = C V^2 f (Weste and Harris, CMOS VLSI Design, 4th ed., section 5.2); TSMC N5 technology page; Dally,
'Hardware for Deep Learning', Hot Chips 2023 (overhead of matrix instructions).
Valid for: dense bf16 products of random data on one die; a first estimate where nobody has measured.
Not modelled: temperature, leakage that grows with it, memory and link power, data that toggle less (zeros).
"""

from __future__ import annotations

from typing import Final

STATIC_SHARE: Final = 0.15
"""Assumed: share of the power limit that leaks or feeds memory, whatever the matrix units do."""
H100_SUSTAINED: Final = 0.79
"""Fitted: share of its peak that an H100 SXM sustains in long products."""
H100_EFFICIENCY: Final = 0.95
"""Fitted: share of its peak that an H100 SXM reaches at boost."""
OLDER_NODE: Final = 1.0 / 0.7
"""Switching energy of TSMC N7 over that of 4N."""
REGISTER_FED: Final = 1.15
"""Switching energy of matrix units whose instructions take operands from registers over those of an H100, whose
instructions are larger and take them from shared memory: 22 % of overhead against 11 %."""

_H100_PEAK, _H100_CLOCK_HZ, _H100_LIMIT_W = 989e12, 1.83e9, 700.0


def switching_joule() -> float:
    """Energy of a FLOP at 1 Hz of clock squared on TSMC 4N [J s^2]."""
    rate = H100_SUSTAINED * _H100_PEAK
    clock_hz = H100_SUSTAINED / H100_EFFICIENCY * _H100_CLOCK_HZ
    return (1.0 - STATIC_SHARE) * _H100_LIMIT_W / (rate * clock_hz * clock_hz)


def sustained_share(
    peak_flop_per_s: float, clock_hz: float, limit_w: float, efficiency: float = H100_EFFICIENCY, node: float = 1.0
) -> float:
    """Share of the peak that long products reach under the power limit.

    Args:
        peak_flop_per_s: dense, at `clock_hz` [FLOP/s].
        clock_hz: printed boost clock [Hz].
        limit_w: board power [W].
        efficiency: share of the peak at boost.
        node: switching energy of the process and of the kind of unit over an H100's.
    """
    at_boost_w = switching_joule() * node * efficiency * peak_flop_per_s * clock_hz * clock_hz
    return efficiency * min(1.0, float(((1.0 - STATIC_SHARE) * limit_w / at_boost_w) ** (1.0 / 3.0)))


def energy_joule(duration_s: float, busy_s: float, idle_w: float, busy_w: float) -> float:
    """Energy of a device over a run [J].

    Args:
        duration_s: of the run [s].
        busy_s: of it, while at least one kernel ran [s].
        idle_w, busy_w: of the sheet [W].
    """
    return idle_w * duration_s + (busy_w - idle_w) * busy_s
