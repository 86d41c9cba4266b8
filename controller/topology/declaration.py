"""What may stand in a topology file: the pydantic models, and their complaints as file, line and hint.

Nothing has a silent default that is a number of hardware: a link without latency is an error, not a link of 0 s.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from controller.errors import BadTopology
from controller.topology.document import Document, Place
from controller.topology.nearest import hint
from node.errors import BadQuantity
from node.hardware.device import ConstantKind
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
            raise PydanticCustomError("quantity", "a link needs more than 0 B/s; leave it out to have no link")
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


def _constant_text(given: Any) -> Any:
    """Counts and ratios have no unit, so a YAML number is taken as its text; the sheet says whether that is enough."""
    return str(given) if isinstance(given, int | float) and not isinstance(given, bool) else given


class DeviceEntry(Entry):
    """One device, or `count` equal ones."""

    product: StrictStr
    count: Annotated[StrictInt, Field(ge=1, le=MAX_COUNT)] | None = None
    constants: dict[StrictStr, Annotated[StrictStr, BeforeValidator(_constant_text)]] = Field(
        default_factory=dict, alias="set"
    )


class LinkEntry(Entry):
    """A link between two ends; `bandwidth` holds for each direction, or `forward` and `backward` are given."""

    ends: Annotated[list[StrictStr], Field(min_length=2, max_length=2)]
    latency: Duration
    name: StrictStr | None = None
    bandwidth: Rate | None = None
    forward: Rate | None = None
    backward: Rate | None = None

    @model_validator(mode="after")
    def _says_each_direction_once(self) -> LinkEntry:
        both = self.forward is not None and self.backward is not None
        neither = self.forward is None and self.backward is None
        if (self.bandwidth is not None and not neither) or (self.bandwidth is None and not both):
            raise PydanticCustomError(
                "directions", "give bandwidth (the same in each direction), or both forward and backward, not a mix"
            )
        return self

    def sides(self) -> tuple[Rate, Rate]:
        """Forward and backward."""
        forward, backward = self.forward or self.bandwidth, self.backward or self.bandwidth
        assert forward is not None and backward is not None
        return forward, backward


class HostEntry(Entry):
    """One chassis."""

    devices: dict[StrictStr, DeviceEntry]
    switches: list[StrictStr] = Field(default_factory=list)
    links: list[LinkEntry] = Field(default_factory=list)


class Declaration(Entry):
    """A whole file."""

    name: StrictStr
    hosts: dict[StrictStr, HostEntry]
    switches: list[StrictStr] = Field(default_factory=list)
    links: list[LinkEntry] = Field(default_factory=list)
    options: dict[StrictStr, StrictStr] = Field(default_factory=dict)


def declaration_of(document: Document) -> Declaration:
    """Checks the shape of a file.

    Raises:
        BadTopology: every complaint with file and line, one a line, in the order of the file.
    """
    try:
        return Declaration.model_validate(document.data)
    except ValidationError as error:
        complaints = sorted(
            {(document.line(detail["loc"]), _complaint(detail)) for detail in error.errors(include_url=False)}
        )
        raise BadTopology("\n".join(f"{document.path}:{line}: {text}" for line, text in complaints)) from error


def _complaint(detail: ErrorDetails) -> str:
    place = detail["loc"]
    inside = ".".join(str(key) for key in place[:-1]) or "the file"
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key {place[-1]!r} in {inside}{hint(str(place[-1]), _keys_at(place[:-1]), 'keys')}"
        case "missing":
            return f"{inside} lacks the key {place[-1]!r}"
        case "quantity" | "directions":
            return f"{'.'.join(str(key) for key in place)}: {detail['msg']}"
    given = detail["input"]
    shown = f" (here: {given!r})" if isinstance(given, str | int | float | None) else ""
    return f"{'.'.join(str(key) for key in place)}: {detail['msg'][:1].lower()}{detail['msg'][1:]}{shown}"


def _keys_at(place: Place) -> tuple[str, ...]:
    """The keys that a mapping at `place` may have."""
    match tuple(place):
        case ():
            entry: type[Entry] = Declaration
        case ("hosts", _):
            entry = HostEntry
        case ("hosts", _, "devices", _):
            entry = DeviceEntry
        case ("links", _) | ("hosts", _, "links", _):
            entry = LinkEntry
        case _:
            entry = Rate
    return tuple(field.alias or name for name, field in entry.model_fields.items())
