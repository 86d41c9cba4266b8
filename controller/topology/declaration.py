"""What may stand in a topology file: the pydantic models (`complaints.py` says what is wrong in words).

Nothing has a silent default that is a number of hardware: a link without latency is an error, not a link of 0 s.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema

from node.errors import BadQuantity
from node.hardware.device import ConstantKind
from node.hardware.operation import ITEM_BYTES
from node.hardware.units import parse, unphysical

MAX_COUNT = 65_536
"""Most devices that one group may declare; beyond it a typing error is likelier than a cluster."""


class Entry(BaseModel):
    """Settings of every entry: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


class Quantity(Entry):
    """A quantity with its source, or its text alone: ``32 GB/s`` is short for an assumed value of this file."""

    dimension: ClassVar[str]
    value: StrictStr
    kind: ConstantKind | None = None
    source: Annotated[StrictStr, Field(min_length=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        if isinstance(given, dict):
            if ("kind" in given) != ("source" in given):
                raise PydanticCustomError("quantity", "kind and source stand together: give both or neither")
            if not isinstance(given.get("value", ""), int | float):
                return given
            given = given["value"]
        if isinstance(given, bool) or not isinstance(given, str | int | float):
            raise PydanticCustomError("quantity", "write a number and a unit as text")
        return {"value": str(given)}

    @model_validator(mode="after")
    def _has_unit(self) -> Quantity:
        try:
            amount = parse(self.value, self.dimension)
        except BadQuantity as error:
            raise PydanticCustomError("quantity", "{message}", {"message": str(error)}) from error
        if amount <= 0 and self.dimension == "bytes/s":
            raise PydanticCustomError("quantity", "a link needs more than 0 B/s; remove it to have no link")
        complaint = unphysical(amount, self.dimension)
        if complaint:
            raise PydanticCustomError("quantity", "{message}", {"message": f"{self.value!r}: {complaint}"})
        return self

    @property
    def amount(self) -> float:
        """The quantity in base units."""
        return parse(self.value, self.dimension)


class Rate(Quantity):
    """A bandwidth in one direction [bytes/s]."""

    dimension: ClassVar[str] = "bytes/s"


class Duration(Quantity):
    """A latency [s]."""

    dimension: ClassVar[str] = "s"


class Rent(Quantity):
    """What one device costs an hour [USD/h]."""

    dimension: ClassVar[str] = "USD/h"


def _constant_text(given: Any) -> Any:
    """Counts and ratios have no unit, so a YAML number is taken as its text; the sheet says whether that is enough."""
    return str(given) if isinstance(given, int | float) and not isinstance(given, bool) else given


Constants = dict[StrictStr, Annotated[StrictStr, BeforeValidator(_constant_text)]]


class MemberEntry(Entry):
    """What sets one device of a group apart from the others."""

    product: StrictStr | None = None
    constants: Constants = Field(default_factory=dict, alias="set")


class DeviceEntry(Entry):
    """One device, or `count` equal ones, of which `members` names those that differ by their index."""

    product: StrictStr
    count: Annotated[StrictInt, Field(ge=1, le=MAX_COUNT)] | None = None
    constants: Constants = Field(default_factory=dict, alias="set")
    members: dict[Annotated[StrictInt, Field(ge=0, lt=MAX_COUNT)], MemberEntry] = Field(default_factory=dict)


class Condition(Entry):
    """What became of a link: the share of its capacity that is left, or nothing."""

    capacity: Annotated[float, Field(gt=0, le=1, strict=True)] = 1.0
    failed: StrictBool = False


class Wire(Condition):
    """A cable: `bandwidth` holds for each direction, or `forward` and `backward` are given.

    Where it is `shared`, a bus or half-duplex, `bandwidth` is that of both directions together; where it is `per_flow`,
    that of every flow alone, however many there are.
    """

    latency: Duration
    bandwidth: Rate | None = None
    forward: Rate | None = None
    backward: Rate | None = None
    shared: StrictBool = False
    per_flow: StrictBool = False

    @model_validator(mode="after")
    def _says_each_direction_once(self) -> Self:
        both = self.forward is not None and self.backward is not None
        neither = self.forward is None and self.backward is None
        if self.bandwidth is None and neither and self.may_lack_rates():
            return self
        if (self.bandwidth is not None and not neither) or (self.bandwidth is None and not both):
            raise PydanticCustomError(
                "directions", "give bandwidth (the same in each direction), or both forward and backward, not a mix"
            )
        if self.shared and self.per_flow:
            raise PydanticCustomError("shared", "a link is shared by its flows or limits each alone, not both")
        if self.shared and self.bandwidth is None:
            raise PydanticCustomError(
                "shared",
                "a shared link has one bandwidth for both directions: give bandwidth, not forward and backward",
            )
        return self

    def may_lack_rates(self) -> bool:
        """Whether something else says how fast it is."""
        return False

    def has_rates(self) -> bool:
        """Whether it says how fast it is."""
        return self.bandwidth is not None or self.forward is not None

    def sides(self) -> tuple[Rate, Rate]:
        """Forward and backward."""
        forward, backward = self.forward or self.bandwidth, self.backward or self.bandwidth
        assert forward is not None and backward is not None
        return forward, backward


class LinkEntry(Wire):
    """A link between two ends.

    What flows over it takes the capacity of the links that it `passes` too: ``bus``, or ``bus<`` where forward is
    backward there. It needs no bandwidth of its own then. Where links have a `dimension`, routes take those of
    dimension 0 first.
    """

    ends: Annotated[list[StrictStr], Field(min_length=2, max_length=2)]
    name: StrictStr | None = None
    passes: list[StrictStr] = Field(default_factory=list)
    dimension: Annotated[StrictInt, Field(ge=0, le=15)] | None = None

    def may_lack_rates(self) -> bool:
        """Whether what it passes says how fast it is."""
        if self.passes and (self.capacity != 1 or self.shared or self.per_flow):
            raise PydanticCustomError(
                "passes", "capacity, shared and per_flow stand beside a bandwidth; say them at what the link passes"
            )
        return bool(self.passes)


class DamageEntry(Condition):
    """The condition of a link that is declared elsewhere in the file, a generated one too."""

    link: StrictStr


class SwitchEntry(Entry):
    """A switch; its name alone, or what it does with the data that passes, too.

    `rate` is what it adds up or multiplies per second in one stream, and `types` the element types that it adds; both
    must be given where it can.
    """

    name: StrictStr
    reduction: StrictBool = False
    multicast: StrictBool = False
    types: list[StrictStr] = Field(default_factory=list)
    rate: Rate | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"name": given}
        if not isinstance(given, dict):
            raise PydanticCustomError("switch", "write the name of a switch, or name: with what it can do")
        return given

    @model_validator(mode="after")
    def _says_how_fast(self) -> Self:
        able = self.reduction or self.multicast
        if able != (self.rate is not None):
            raise PydanticCustomError("switch", "rate: stands with reduction: true or multicast: true, and only there")
        if self.reduction != bool(self.types):
            raise PydanticCustomError("switch", "types: lists what reduction: true can add, for example [fp32, bf16]")
        unknown = [name for name in self.types if name not in ITEM_BYTES]
        if unknown:
            known = ", ".join(ITEM_BYTES)
            raise PydanticCustomError(
                "switch", "no element type {name}; there are {known}", {"name": repr(unknown[0]), "known": known}
            )
        return self


class SwitchName(str):
    """The name of a declared switch, with its entry beside it."""

    __slots__ = ("entry",)
    entry: SwitchEntry

    @classmethod
    def of(cls, entry: SwitchEntry) -> Self:
        """The name of `entry`."""
        made = cls(entry.name)
        made.entry = entry
        return made

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(cls.of, handler(SwitchEntry))


class HostEntry(Entry):
    """One chassis."""

    devices: dict[StrictStr, DeviceEntry]
    switches: list[SwitchName] = Field(default_factory=list)
    links: list[LinkEntry] = Field(default_factory=list)


class Declaration(Entry):
    """A whole file; `fabric` is what a generator makes more hosts, switches and links of."""

    name: StrictStr
    hosts: dict[StrictStr, HostEntry] = Field(default_factory=dict)
    fabric: dict[StrictStr, Any] | None = None
    switches: list[SwitchName] = Field(default_factory=list)
    links: list[LinkEntry] = Field(default_factory=list)
    damage: list[DamageEntry] = Field(default_factory=list)
    options: dict[StrictStr, StrictStr] = Field(default_factory=dict)
    prices: dict[StrictStr, Rent] = Field(default_factory=dict)
