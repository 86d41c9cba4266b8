"""Classes of requests as text: ``chat:0.9,priority=1,ttft=250ms;batch:0.1,priority=5``."""

from __future__ import annotations

from controller.errors import BadWorkload
from controller.serving.client_request import Slo
from controller.serving.requests.draw import RequestClass
from node.errors import BadQuantity
from node.hardware.units import parse

BOUNDS = ("ttft", "tpot", "itl", "e2e")


def read_slo(text: str, option: str = "--slo") -> Slo:
    """``ttft=250ms,tpot=100ms``.

    Raises:
        BadWorkload: an unknown bound, or a value that is no duration.
    """
    return _slo(dict(_pair(part, option) for part in text.split(",") if part.strip()), option) if text else Slo()


def read_classes(text: str) -> tuple[RequestClass, ...]:
    """Classes with shares, priorities and objectives.

    Raises:
        BadWorkload: a share or priority that is no number, or an unknown bound.
    """
    found = []
    for entry in text.split(";") if text else ():
        head, *rest = entry.split(",")
        name, colon, share = head.partition(":")
        named = dict(_pair(part, "--classes") for part in rest)
        try:
            priority = int(named.pop("priority", "0"))
            ratio = float(share) if colon else 1.0
        except ValueError:
            raise BadWorkload(
                f"--classes {entry!r}: write NAME:SHARE,priority=WHOLE NUMBER,ttft=250ms, such as chat:0.9,priority=1"
            ) from None
        if not 0 < ratio <= 1:
            raise BadWorkload(f"--classes {entry!r}: a share of {ratio:g}; write one above 0 and at most 1")
        found.append(RequestClass(name.strip(), ratio, priority, _slo(named, "--classes")))
    return tuple(found)


def _pair(part: str, option: str) -> tuple[str, str]:
    name, equals, value = part.partition("=")
    if not equals:
        raise BadWorkload(f"{option}: {part!r} is not of the form name=value; write ttft=250ms")
    return name.strip(), value.strip()


def _slo(named: dict[str, str], option: str) -> Slo:
    bounds: dict[str, float] = {}
    for name, value in named.items():
        if name not in BOUNDS:
            raise BadWorkload(f"{option}: no bound is called {name!r}; there are {', '.join(BOUNDS)}")
        try:
            bounds[f"{name}_s"] = float(parse(value, "s"))
        except BadQuantity as error:
            raise BadWorkload(f"{option} {name}={value}: {error}") from error
    if any(bound <= 0 for bound in bounds.values()):
        raise BadWorkload(f"{option}: a bound is more than 0; write ttft=250ms")
    return Slo(**bounds)
