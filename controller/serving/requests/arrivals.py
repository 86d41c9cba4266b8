"""When requests arrive: ``poisson:2.5/s``, ``gamma:2.5/s,cv=4``, ``burst:10/s,every=5s``, ``closed:32``, ``inf``.

A Gamma process has intervals of that distribution whose standard deviation is `cv` times their mean; with cv = 1 it is
the Poisson process. Bursts come at equal distances, each of as many requests as the rate then owes. A closed loop has
that many users, each of whom sends the next request when the last one has ended. ``inf`` means all at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from controller.errors import BadWorkload
from controller.nearest import nearest
from node.errors import BadQuantity
from node.hardware.units import parse

KINDS = ("poisson", "gamma", "burst", "closed", "inf")


@dataclass(frozen=True, slots=True)
class ArrivalProcess:
    """How requests arrive.

    Attributes:
        kind: one of `KINDS`.
        rate_per_s: mean rate [1/s]; infinite for ``closed`` and ``inf``.
        variation: standard deviation of an interval over its mean.
        every_s: distance of two bursts [s].
        users: of a closed loop.
    """

    kind: str
    rate_per_s: float = float("inf")
    variation: float = 1.0
    every_s: float = 0.0
    users: int = 0

    def draw(self, count: int, draw: np.random.Generator) -> npt.NDArray[np.float64]:
        """Instants of `count` arrivals, the first one interval after 0 [s] (n)."""
        if self.kind in ("closed", "inf"):
            return np.zeros(count)
        if self.kind == "burst":
            size = self.rate_per_s * self.every_s
            return np.floor(np.arange(count) / size) * self.every_s
        shape = 1.0 / (self.variation * self.variation)
        intervals = draw.standard_gamma(shape, count) / (shape * self.rate_per_s)
        return np.cumsum(intervals)

    def at_rate(self, rate_per_s: float) -> ArrivalProcess:
        """The same process at another mean rate."""
        return ArrivalProcess(self.kind, rate_per_s, self.variation, self.every_s, self.users)


def read_arrivals(text: str) -> ArrivalProcess:
    """The process that a text means.

    Raises:
        BadWorkload: an unknown kind, or a value that is not a rate, a duration or a number.
    """
    kind, _, rest = text.partition(":")
    if kind not in KINDS:
        hint = nearest(kind, KINDS)
        raise BadWorkload(f"requests {text!r}: no arrivals are called {kind!r}; {hint}")
    first, *others = rest.split(",") if rest else [""]
    named = dict(_named(text, part) for part in others)
    if kind == "inf":
        _check_names(text, named, ())
        return ArrivalProcess("inf")
    if kind == "closed":
        _check_names(text, named, ())
        if not (first.isascii() and first.isdigit() and int(first) > 0):
            raise BadWorkload(f"requests {text!r}: {first!r} is no number of users; write closed:32")
        return ArrivalProcess("closed", users=int(first))
    rate = _quantity(text, first, "1/s")
    if rate <= 0:
        raise BadWorkload(f"requests {text!r}: a rate is more than 0; write {kind}:2.5/s")
    if kind == "poisson":
        _check_names(text, named, ())
        return ArrivalProcess("poisson", rate)
    if kind == "gamma":
        _check_names(text, named, ("cv",))
        return ArrivalProcess("gamma", rate, variation=_number(text, named.get("cv", "1")))
    _check_names(text, named, ("every",))
    return ArrivalProcess("burst", rate, every_s=_quantity(text, named.get("every", "1 s"), "s"))


def _named(text: str, part: str) -> tuple[str, str]:
    name, equals, value = part.partition("=")
    if not equals or not value:
        raise BadWorkload(f"requests {text!r}: {part!r} is not of the form name=value; write gamma:2.5/s,cv=4")
    return name.strip(), value.strip()


def _check_names(text: str, named: dict[str, str], known: tuple[str, ...]) -> None:
    for name in named:
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "remove it"
            raise BadWorkload(f"requests {text!r}: nothing is called {name!r} here; {takes}")


def _quantity(text: str, value: str, dimension: str) -> float:
    if dimension == "1/s":
        number, slash, unit = value.partition("/")
        scale = {"s": 1.0, "min": 60.0, "h": 3600.0}.get(unit.strip()) if slash else None
        if scale is None:
            raise BadWorkload(f"requests {text!r}: {value!r} is no rate; write 2.5/s, 150/min or 9000/h")
        return _number(text, number) / scale
    try:
        found = float(parse(value, dimension))
    except BadQuantity as error:
        raise BadWorkload(f"requests {text!r}: {error}") from error
    if found <= 0:
        raise BadWorkload(f"requests {text!r}: {value!r} is no duration of more than 0; write 5 s")
    return found


def _number(text: str, value: str) -> float:
    try:
        found = float(value)
    except ValueError:
        found = float("nan")
    if not 0 < found < float("inf"):
        raise BadWorkload(f"requests {text!r}: {value!r} is no number of more than 0")
    return found
