"""C4: downtime of a large job before and after faults are found in minutes.

Paper: Dong et al., Boosting large-scale parallel training efficiency with C4, arXiv 2406.04594. Its full text was not
at hand: figures marked M are recalled and count nowhere; shapes do.
"""

from __future__ import annotations

from controller.reproduce.c4_downtime import rows
from controller.reproduce.c4p import rows as c4p_rows
from controller.reproduce.rows import Paper


def paper() -> Paper:
    """C4's tables."""
    return Paper(
        "c4",
        "C4: communication-driven fault detection and traffic planning",
        {},
        (*rows(), *c4p_rows()),
        knob="crashes, and what each costs, of both months, from the shares of the downtime",
    )
