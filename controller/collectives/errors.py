"""What can be wrong with a question about collectives; all are `UserError` (exit code 2)."""

from __future__ import annotations

from controller.errors import UserError


class UnknownAlgorithm(UserError):
    """No collective, algorithm or protocol of that name; names the nearest one."""


class BadGroup(UserError):
    """Invalid group: a device twice, one that the topology lacks, or more ranks than devices."""


class BadCall(UserError):
    """A size, type or root that a collective cannot have, or an algorithm that cannot run on the group."""
