"""Equal-cost multi-path: a hash of a flow picks its path, whatever else is there.

Paper: Hopps, Analysis of an equal-cost multi-path algorithm, RFC 2992.
Follows: a hash over (seed, source, destination, number of the flow) modulo the number of paths. A connection keeps its
    path: all transfers between two devices are one connection, unless ``routing.connections`` says how many flows each
    transfer is cut into (as RDMA libraries spread a message over several queue pairs), numbered from 0.
Differs: one hash picks the whole path, where switches hash hop by hop. When a link has failed, only the flows that
    took it are hashed again, over what is left, as with resilient hashing.
Checked by: tests/unit/controller/fabric/routing/test_policies.py, tests/property/test_ethereal.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from hashlib import blake2b

from controller.errors import BadTopology
from controller.fabric.routing.flow import Flow, Shares

MAX_CONNECTIONS = 1024


class Ecmp:
    """A path by hash.

    Args:
        seed: changes every choice.
        connections: flows that each transfer is cut into, each with a hash of its own.
    """

    def __init__(self, seed: int = 0, connections: int = 1) -> None:
        self._seed, self._connections = seed, connections

    def assign(self, flows: Sequence[Flow]) -> Sequence[Shares]:
        return [self._of(flow) for flow in flows]

    def _of(self, flow: Flow) -> Shares:
        parts: dict[int, Fraction] = {}
        for index in range(self._connections):
            number = self._hash(flow, index, "") % len(flow.paths)
            if number not in flow.up:
                number = flow.up[self._hash(flow, index, "again") % len(flow.up)]
            parts[number] = parts.get(number, Fraction(0)) + Fraction(1, self._connections)
        return tuple(sorted(parts.items()))

    def _hash(self, flow: Flow, index: int, turn: str) -> int:
        words = "\0".join((str(self._seed), flow.source, flow.destination, str(index), turn))
        return int.from_bytes(blake2b(words.encode(), digest_size=8).digest(), "big")


def ecmp(options: Mapping[str, str]) -> Ecmp:
    """The policy with ``routing.seed`` (0) and ``routing.connections`` (1).

    Raises:
        BadTopology: an option that is no such number.
    """
    return Ecmp(
        _whole(options, "routing.seed", 0, 0, 2**63 - 1),
        _whole(options, "routing.connections", 1, 1, MAX_CONNECTIONS),
    )


def _whole(options: Mapping[str, str], key: str, default: int, least: int, most: int) -> int:
    text = options.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and least <= int(text) <= most):
        raise BadTopology(f"option {key} is {text!r}; write a whole number from {least} to {most}")
    return int(text)
