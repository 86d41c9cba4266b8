"""What a table of collectives would take, said or refused before any of it is built or moved."""

from __future__ import annotations

from collections.abc import Sequence

from controller.cli.memory_budget import check_room
from controller.errors import check_limit, duration_text
from node.hardware.units import GIBI, MEGA

BULK_FLOW_BYTES = 400
"""Peak memory for a flow of all_to_all that is timed in bulk: (569 - 150) MB at 1,024 ranks of one switch [bytes]."""
PLANNED_FLOW_BYTES = 3000
"""The same for a transfer in a plan: (266 - 160) MB for 32,512 of a ring over 128 ranks [bytes]."""
BULK_FLOW_S = 3e-6
"""To time a flow of all_to_all in bulk: two sizes more at 1,024 ranks took 6.9 s, two more at 512 took 1.7 s [s]."""
QUADRATIC = frozenset({"direct", "pairwise", "ring", "rings", "bidirectional_ring"})
"""Algorithms whose plan has a transfer at least for every two ranks, in either direction."""
LIVE_BYTES_PER_S = 35 * MEGA
"""Bytes of a rank that --live makes, moves and checks: 96 MiB more of a ring of 4 ranks took 2.9 s.

512 MiB took 50 s with the two cores shared four times over, so that this is the fast end [bytes/s].
"""
MOST_LIVE_BYTES = 16 * GIBI
"""Of all ranks and calls of one table; the default sizes on 8 ranks come to a quarter of it [bytes]."""
WORTH_SAYING_S = 20.0
"""From which on a live table says how long it takes before it starts [s]."""


def check_flows(name: str, names: tuple[str, ...], ranks: int, bulk: bool) -> None:
    """Refuses a call whose flows between every two ranks would not fit into the memory of the command.

    Raises:
        MemoryBudgetExceeded: says how many flows there would be, and what they take.
    """
    if bulk and name == "all_to_all":
        check_room(f"flows of {ranks:,} ranks", ranks * (ranks - 1), BULK_FLOW_BYTES, "give fewer --ranks")
    elif not bulk and (quadratic := QUADRATIC.intersection(names)):
        what = f"transfers in a plan of {min(quadratic)} over {ranks:,} ranks"
        check_room(what, ranks * (ranks - 1), PLANNED_FLOW_BYTES, "give fewer --ranks, or time arrays with --bulk")


def flows_warning(name: str, sizes: Sequence[int], ranks: int, bulk: bool) -> str:
    """How long the flows between every two ranks will take to time, where that is long; "" otherwise.

    Args:
        name: of the collective.
        sizes: of the calls [bytes].
        ranks: that take part.
        bulk: whether flows are timed as arrays.
    """
    from controller.models.limits import WORTH_SAYING_S as LONG_S

    if not bulk or name != "all_to_all":
        return ""
    flows = ranks * (ranks - 1)
    seconds = flows * len(sizes) * BULK_FLOW_S
    if seconds < LONG_S:
        return ""
    return (
        f"{flows:,} flows of {ranks:,} ranks for each of {len(sizes)} sizes: about {duration_text(seconds)} at "
        f"{BULK_FLOW_S * 1e6:g} us a flow, and {flows * BULK_FLOW_BYTES / GIBI:.3g} GiB of memory"
    )


def live_warning(name: str, sizes: Sequence[int], ranks: int) -> str:
    """How long --live will take, where that is long enough to say; "" otherwise.

    Args:
        name: of the collective.
        sizes: of the calls [bytes].
        ranks: that take part.

    Raises:
        BadCall: more bytes than are moved in one table.
    """
    from controller.collectives.call import NO_IN_PLACE
    from controller.collectives.errors import BadCall

    calls = 1 if name in NO_IN_PLACE else 2
    total = sum(sizes) * ranks * calls
    seconds = total / LIVE_BYTES_PER_S
    least = f"at least {duration_text(seconds)} at {LIVE_BYTES_PER_S / MEGA:g} MB/s"
    check_limit(
        BadCall, "the bytes of --live over all sizes and ranks", total, MOST_LIVE_BYTES, f"this takes {least}",
        "write a smaller -e, or give fewer --ranks",
    )  # fmt: skip
    if seconds < WORTH_SAYING_S:
        return ""
    return f"--live makes, moves and checks {total / GIBI:.3g} GiB: {least}"
