"""What the ``fabric:`` block of every kind has in common: a host that is repeated, and cables."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

from pydantic import StrictStr, model_validator
from pydantic_core import PydanticCustomError

from controller.topology.declaration import Entry, Wire
from controller.topology.generate.host import HostBlock, Ratio
from controller.topology.generate.weaver import Weaver


class FabricBlock(Entry):
    """A whole ``fabric:`` block; each kind adds its own counts and cables."""

    kind: StrictStr
    host: HostBlock

    @property
    @abstractmethod
    def host_count(self) -> int:
        """How often the host is repeated."""

    @abstractmethod
    def weave(self, weaver: Weaver) -> None:
        """Adds hosts, switches and links."""


class UplinkedBlock(FabricBlock):
    """A fabric whose hosts are linked to switches, and these to spines by uplinks of their own or as wide as asked for.

    Attributes:
        link: a cable between a host and its switch.
        uplink: a cable between a switch and a spine; None for one like `link`.
        oversubscription: what arrives from below over what the uplinks carry.
    """

    link: Wire
    uplink: Wire | None = None
    oversubscription: Ratio | None = None

    @model_validator(mode="after")
    def _says_uplinks_once(self) -> Self:
        """Refuses to be told the width of the uplinks twice."""
        if self.oversubscription is not None and self.uplink is not None:
            raise PydanticCustomError(
                "fabric", "give oversubscription, which sets what the uplinks carry, or uplink with its own bandwidth"
            )
        return self
