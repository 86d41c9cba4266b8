"""From slow or stalled pairs of ranks to the component behind them.

A pair alone is a path. A rank that most of its pairs have in common, at least two of them, has a bad attachment to the
network: its row and its column of the delay matrix. Ranks are taken one after the other, the one that explains most
first, so that two bad ones are both named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controller.diagnosis.verdicts import Suspect

MOST_OF = 0.5


def blame_pairs(
    bad: Mapping[tuple[int, int], float], known: Iterable[tuple[int, int]], devices: tuple[str, ...]
) -> dict[Suspect, float]:
    """Components that explain the bad pairs, with the worst ratio of each.

    Args:
        bad: times slower, by pair.
        known: every pair that exchanges messages, by which a rank's share of bad ones is told.
        devices: of the ranks.
    """
    of_rank: dict[int, set[tuple[int, int]]] = {}
    for pair in known:
        for rank in pair:
            of_rank.setdefault(rank, set()).add(pair)
    left, found = dict(bad), dict[Suspect, float]()
    while left:
        counts: dict[int, int] = {}
        for source, target in left:
            counts[source] = counts.get(source, 0) + 1
            counts[target] = counts.get(target, 0) + 1
        most = max(counts.values())
        ranks = [rank for rank, count in counts.items() if count == most]
        rank = max(ranks, key=lambda each: (counts[each] / len(of_rank.get(each, {0})), -each))
        if most < 2 or most < MOST_OF * len(of_rank.get(rank, ())):
            break
        mine = {pair: ratio for pair, ratio in left.items() if rank in pair}
        found[Suspect("nic", devices[rank])] = max(mine.values())
        left = {pair: ratio for pair, ratio in left.items() if pair not in mine}
    for (source, target), ratio in sorted(left.items()):
        found[Suspect("path", f"{devices[source]}->{devices[target]}")] = ratio
    return found
