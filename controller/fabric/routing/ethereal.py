"""Single paths with minimal splitting: as even as ideal spraying, and nearly every flow in one piece.

Paper: Ethereal, a single-path load balancer for collectives (its splitting theorem).
Follows: of r equal flows that leave one leaf over s uplinks at once, ``floor(r / s) * s`` go round robin in one piece;
    each of the ``r' = r mod s`` that are left is cut into ``s / g`` equal pieces, ``g = gcd(r', s)``, and every uplink
    gets ``r' / g`` of them. Each uplink then carries exactly ``r * f / s``, as with ideal spraying. When a link has
    failed the same holds over those that are left.
Differs: flows of one leaf are taken in the order of their destinations' leaves, beginning behind their own, so that
    the links down to a leaf are loaded evenly as well where the numbers divide; the paper argues this by symmetry.
    Its gain over real packet spraying (up to 30 % of the completion time) comes from reordering, retransmission and
    queues. Those are effects of packets, outside a fluid model: here Ethereal equals ideal spraying, and cannot beat
    it. That the number of pieces is minimal holds among equal pieces only, and is not claimed.
Checked by: tests/property/test_ethereal.py (the theorem, every r and s up to 64, and the times), tests/paper/
    test_packet_spraying.py
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from math import gcd

from controller.fabric.routing.flow import Flow, Shares


class Ethereal:
    """Whole flows round robin, what is left in as few equal pieces as fill every uplink evenly."""

    def assign(self, flows: Sequence[Flow]) -> Sequence[Shares]:
        groups: dict[Hashable, list[int]] = {}
        departures: list[str] = []
        for index, flow in enumerate(flows):
            uplinks = flow.choices()
            departures.append(uplinks[0].tail.vertex)
            key = (departures[index], tuple(hop.link.name for hop in uplinks), flow.size, flow.step)
            groups.setdefault(key, []).append(index)
        arrivals = [flow.arrival() for flow in flows]
        leaves = sorted({*arrivals, *departures})
        place = {leaf: number for number, leaf in enumerate(leaves)}
        found: list[Shares] = [()] * len(flows)
        for members in groups.values():
            own = place[departures[members[0]]]
            members.sort(key=lambda index: (place[arrivals[index]] - own) % len(leaves))
            up = flows[members[0]].up
            for index, parts in zip(members, split(len(members), len(up)), strict=True):
                # Paths of one group start with the same uplinks in the same order, so a place is an uplink.
                found[index] = tuple((flows[index].up[uplink], part) for uplink, part in parts)
        return found


def split(flows: int, uplinks: int) -> list[Shares]:
    """The (uplink, part) of every one of `flows` equal flows over `uplinks` uplinks."""
    left = flows % uplinks
    shares: list[Shares] = [((index % uplinks, Fraction(1)),) for index in range(flows - left)]
    if left:
        common = gcd(left, uplinks)
        pieces = uplinks // common
        for index in range(left):
            first = index * pieces % uplinks
            shares.append(tuple((first + piece, Fraction(1, pieces)) for piece in range(pieces)))
    return shares


def ethereal(options: Mapping[str, str]) -> Ethereal:
    """The policy; it has no options."""
    return Ethereal()
