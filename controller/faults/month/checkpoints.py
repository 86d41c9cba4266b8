"""Checkpoint policies: what a checkpoint costs, when it is whole, and which failures its copy survives.

=============  ==========  ==============  ========================================================================
policy         training    whole after     the copy is lost when
=============  ==========  ==============  ========================================================================
blocking       stands      the write       never: it lies on remote storage
asynchronous   snapshot    the write       never
remote         stands      the write       never; as blocking, over a slower path
local          stands      the write       a host is lost: its flash goes with it; then the newest remote one counts
peer           snapshot    the copy        a host and the one that holds its copy are lost together; then the same
=============  ==========  ==============  ========================================================================

A write that a failure cuts off is torn and counts for nothing: the checkpoint before it is restored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from controller.errors import UserError
from controller.topology.nearest import hint

NOWHERE, WITH_HOST, WITH_PAIR = "nowhere", "with host", "with pair"


@dataclass(frozen=True, slots=True)
class CheckpointPolicy:
    """How a job saves its state.

    Attributes:
        name: what ``--checkpoints`` calls it.
        interval_s: training between two checkpoints [s].
        stall_s: training stands still for so long at each [s].
        whole_s: from its start on until it can be restored [s].
        read_s: to restore it [s].
        lost: with what its copy goes: ``nowhere``, ``with host`` or ``with pair``.
        remote_every: one in so many goes to remote storage too.
    """

    name: str
    interval_s: float
    stall_s: float
    whole_s: float
    read_s: float
    lost: str = NOWHERE
    remote_every: int = 1


_DEFAULT_S = 1800.0
POLICIES: Mapping[str, CheckpointPolicy] = {
    each.name: each
    for each in (
        CheckpointPolicy("blocking", _DEFAULT_S, 30.0, 30.0, 0.0),
        CheckpointPolicy("asynchronous", _DEFAULT_S, 2.0, 60.0, 0.0),
        CheckpointPolicy("remote", _DEFAULT_S, 120.0, 120.0, 0.0),
        CheckpointPolicy("local", _DEFAULT_S, 10.0, 10.0, 0.0, WITH_HOST, 8),
        CheckpointPolicy("peer", _DEFAULT_S, 1.0, 5.0, 0.0, WITH_PAIR, 16),
    )
}
"""The policies; their times are assumed, and ``--write`` says otherwise. Reading is part of the re-initialisation."""


class UnknownCheckpoints(UserError):
    """No checkpoint policy of that name."""


def checkpoints_called(name: str, interval_s: float, write_s: float | None = None) -> CheckpointPolicy:
    """The policy called `name` with its interval.

    Args:
        name: of the table.
        interval_s: training between two checkpoints [s].
        write_s: what a checkpoint stalls, and takes where it stalls for all of it [s]; None for the assumed time.

    Raises:
        UnknownCheckpoints: there is none; names the nearest.
        UserError: times that cannot be.
    """
    if name not in POLICIES:
        raise UnknownCheckpoints(f"no checkpoints called {name!r}{hint(name, POLICIES, 'checkpoint policies')}")
    if not 1.0 <= interval_s <= 1e9:
        raise UserError(f"a checkpoint every {interval_s:g} s; write 1 s or more")
    policy = replace(POLICIES[name], interval_s=interval_s)
    if write_s is None:
        return policy
    if not 0.0 <= write_s <= 1e9:
        raise UserError(f"a checkpoint that takes {write_s:g} s; write 0 s or more")
    whole_s = write_s if policy.stall_s == policy.whole_s else max(policy.whole_s, write_s)
    return replace(policy, stall_s=write_s, whole_s=whole_s)
