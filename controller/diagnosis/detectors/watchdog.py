"""NCCL's watchdog in PyTorch: an operation that is not done after ten minutes ends the job.

Follows: the time limit of ten minutes, looked at every 30 s (torch ProcessGroupNCCL). It says which ranks have not
    entered, as the heartbeat monitor's desync report does, and knows nothing of slowness.
"""

from __future__ import annotations

from controller.diagnosis.patrol import Patrol


class Watchdog(Patrol):
    """Speaks on silence."""

    limit_s, every_s, silent_s = 600.0, 30.0, 60.0
