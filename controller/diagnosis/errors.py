"""What can be wrong with telemetry that others wrote."""

from __future__ import annotations

from controller.errors import UserError


class BadDump(UserError):
    """A dump or trace that cannot be used; says which file, and what to do."""


class UnknownDetector(UserError):
    """No detector of that name."""


class BadCampaign(UserError):
    """A campaign that cannot be run: ranks that do not fit the workload, no such workload or rates."""
