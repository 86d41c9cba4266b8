"""What the devices of a topology cost, as far as anybody published it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from ruamel.yaml import YAML

from controller.topology.schema import Topology


@dataclass(frozen=True, slots=True)
class Price:
    """Published prices of one product; None where there is none [USD]."""

    purchase_usd: float | None
    hour_usd: float | None


@dataclass(frozen=True, slots=True)
class Bill:
    """What a whole topology costs.

    Attributes:
        usd: sum over the devices that have the price [USD]; None when none has.
        unpriced: products without one, each once.
    """

    usd: float | None
    unpriced: tuple[str, ...]


@lru_cache(maxsize=1)
def prices() -> dict[str, Price]:
    """Price of every product in ``prices.yaml``."""
    text = resources.files("controller.compare").joinpath("prices.yaml").read_text(encoding="utf-8")
    entries = YAML(typ="safe").load(text)
    return {
        product: Price(
            float(entry["purchase"]["value"]) if "purchase" in entry else None,
            float(entry["hour"]["value"]) if "hour" in entry else None,
        )
        for product, entry in entries.items()
    }


def purchase(topology: Topology, used: frozenset[str]) -> Bill:
    """What the `used` devices of a topology cost to buy."""
    return _bill(topology, used, "purchase_usd")


def rent(topology: Topology, used: frozenset[str]) -> Bill:
    """What the `used` devices of a topology cost an hour."""
    return _bill(topology, used, "hour_usd")


def _bill(topology: Topology, used: frozenset[str], kind: str) -> Bill:
    total: float | None = None
    unpriced: dict[str, None] = {}
    for device in topology.devices.values():
        if device.name not in used:
            continue
        price = prices().get(device.spec.product)
        value: float | None = None if price is None else getattr(price, kind)
        if value is None:
            unpriced[device.spec.product] = None
        else:
            total = (total or 0.0) + value
    return Bill(total, tuple(unpriced))
