"""Which device holds which experts, and how many rows the declared router sends where.

A slot holds one copy of one expert; slots are numbered rank by rank, equally many a rank. Copies of an expert take
turns, token by token (operation ``expert_slots``).
Source of redundant copies: DeepSeek's expert-parallel load balancer; CloudMatrix384, arXiv 2506.12708, section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.errors import BadWorkload
from controller.plan.ranges import even_ranges
from node.hardware.operations.experts import expert_loads


@dataclass(frozen=True, slots=True)
class ExpertPlacement:
    """Experts of a layer over the ranks of a group.

    Attributes:
        ranks: number of ranks.
        experts: of every slot.
    """

    ranks: int
    experts: tuple[int, ...]

    @property
    def slots(self) -> int:
        """Of each rank."""
        return len(self.experts) // self.ranks

    def of_rank(self, rank: int) -> tuple[int, ...]:
        """Experts in the slots of `rank`."""
        return self.experts[rank * self.slots : (rank + 1) * self.slots]

    def rows_of_slots(self, tokens: int, chosen: int, loads: Sequence[int] = ()) -> tuple[int, ...]:
        """Rows that the declared router sends to every slot.

        Args:
            tokens: of one source.
            chosen: experts of each token.
            loads: declared share of each expert; empty for even ones.
        """
        count = max(self.experts) + 1
        copies = [0] * count
        for expert in self.experts:
            copies[expert] += 1
        shares = [
            expert_loads(rows, copies[expert])
            for expert, rows in enumerate(_rows_of_experts(tokens, chosen, tuple(loads) or (1,) * count))
        ]
        seen = [0] * count
        found = []
        for expert in self.experts:
            found.append(shares[expert][seen[expert]])
            seen[expert] += 1
        return tuple(found)


def _rows_of_experts(tokens: int, chosen: int, loads: tuple[int, ...]) -> list[int]:
    """Rows of every expert in proportion to `loads`, at most one for each token, which chooses an expert once."""
    found, left, rest = [0] * len(loads), tokens * chosen, dict(enumerate(loads))
    while rest:
        shares = dict(zip(rest, expert_loads(left, len(rest), tuple(rest.values())), strict=True))
        full = [expert for expert, rows in shares.items() if rows > tokens]
        if not full:
            full, tokens = list(rest), max(shares.values())
        for expert in full:
            found[expert] = min(tokens, shares[expert])
            left -= found[expert]
            del rest[expert]
    return found


def placed(count: int, ranks: int, redundant: int = 0, order: Sequence[int] = ()) -> ExpertPlacement:
    """Experts distributed over ranks in order, copies of the first ones on the ranks that hold the fewest.

    Args:
        count: experts of a layer.
        ranks: number of ranks.
        redundant: slots for second copies, over all ranks.
        order: the expert of every slot instead, rank by rank; empty for the one above.

    Raises:
        BadWorkload: experts that do not divide, an expert without a slot, or twice on one rank.
    """
    if order:
        return _checked(ExpertPlacement(ranks, tuple(order)), count)
    if (count + redundant) % ranks:
        fitting = -(count + redundant) % ranks
        raise BadWorkload(
            f"{count} experts and {redundant} redundant copies do not divide over {ranks} devices; write "
            f"--redundant {redundant + fitting}, or choose another number of devices"
        )
    if redundant > count:
        raise BadWorkload(f"{redundant} redundant copies of {count} experts; write --redundant {count} or less")
    slots = [list(range(start, stop)) for start, stop in even_ranges(count, ranks)]
    for copy in range(redundant):
        open_ranks = [rank for rank in range(ranks) if copy not in slots[rank]]
        if not open_ranks:
            raise BadWorkload(f"every device holds expert {copy} already, and copies go to other devices; write fewer")
        slots[min(open_ranks, key=lambda rank: (len(slots[rank]), rank))].append(copy)
    return _checked(ExpertPlacement(ranks, tuple(expert for of_rank in slots for expert in of_rank)), count)


def _checked(placement: ExpertPlacement, count: int) -> ExpertPlacement:
    ranks, experts = placement.ranks, placement.experts
    if len(experts) % ranks:
        raise BadWorkload(f"a placement of {len(experts)} slots over {ranks} devices; give every device equally many")
    strange = sorted({expert for expert in experts if not 0 <= expert < count})
    if strange:
        raise BadWorkload(f"the placement names expert {strange[0]}; the model has experts 0 to {count - 1}")
    missing = sorted(set(range(count)) - set(experts))
    if missing:
        raise BadWorkload(f"the placement leaves expert {missing[0]} out; give every expert at least one slot")
    for rank in range(ranks):
        own = placement.of_rank(rank)
        twice = [expert for index, expert in enumerate(own) if expert in own[:index]]
        if twice:
            raise BadWorkload(f"the placement has expert {twice[0]} twice on device {rank}; copies go to other devices")
    return placement
