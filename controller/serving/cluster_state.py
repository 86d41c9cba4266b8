"""What a cluster policy sees: the instances with their loads, and which requests are on their way between two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.serving.state import InstanceState

BOTH, PREFILL, DECODE = "both", "prefill", "decode"


@dataclass(eq=False, slots=True)
class ClusterState:
    """All instances at one instant.

    Attributes:
        instances: in the order of their numbers.
        roles: of each: ``both``, ``prefill`` or ``decode``.
        on: whether each takes requests or still runs some; an instance that is off costs nothing.
        routed: requests that have been routed so far.
        moving: numbers of the requests that move, to the instance that they move to.
        options: of the policy, by name.
        down: numbers of instances that have failed.
    """

    instances: list[InstanceState]
    roles: list[str]
    on: list[bool]
    routed: int = 0
    moving: dict[int, int] = field(default_factory=dict)
    options: Mapping[str, float] = field(default_factory=dict)
    down: set[int] = field(default_factory=set)

    def open_numbers(self, *roles: str) -> list[int]:
        """Numbers of the instances of some roles that take new requests; of all that take any where none does."""
        wanted = roles or (BOTH, PREFILL)
        found = [
            number for number, role in enumerate(self.roles)
            if role in wanted and self.runs(number) and not self.instances[number].draining
        ]  # fmt: skip
        return found or [number for number, role in enumerate(self.roles) if role in wanted and self.runs(number)]

    def runs(self, number: int) -> bool:
        """Whether an instance is on and has not failed."""
        return self.on[number] and number not in self.down


@dataclass(frozen=True, slots=True)
class Migration:
    """A decision to move a request that decodes.

    Attributes:
        request: its number.
        source, destination: numbers of instances.
    """

    request: int
    source: int
    destination: int
