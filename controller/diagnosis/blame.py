"""From slow or stalled pairs of ranks to the component behind them.

A pair alone is a path. A rank whose messages with most of its peers are bad, at least with two, has a bad attachment to
the network: its row and its column of the delay matrix. Ranks are taken one after the other, the one that explains most
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
    peers = _peers(known)
    left, found = dict(bad), dict[Suspect, float]()
    while left:
        here = _peers(left)
        most = max(map(len, here.values()))
        ranks = [rank for rank, others in here.items() if len(others) == most]
        rank = max(ranks, key=lambda each: (most / len(peers.get(each, {0})), -each))
        if most < 2 or most < MOST_OF * len(peers.get(rank, ())):
            break
        mine = {pair: ratio for pair, ratio in left.items() if rank in pair}
        found[Suspect("nic", devices[rank])] = max(mine.values())
        left = {pair: ratio for pair, ratio in left.items() if pair not in mine}
    for (source, target), ratio in sorted(left.items()):
        found[Suspect("path", f"{devices[source]}->{devices[target]}")] = ratio
    return found


def _peers(pairs: Iterable[tuple[int, int]]) -> dict[int, set[int]]:
    """With whom each rank exchanges messages; both directions of a pair are one peer."""
    found: dict[int, set[int]] = {}
    for source, target in pairs:
        found.setdefault(source, set()).add(target)
        found.setdefault(target, set()).add(source)
    return found
