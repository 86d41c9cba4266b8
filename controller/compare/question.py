"""What a comparison asks: candidates crossed with the values of a sweep, each a request of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from controller.compare.candidates import BadCandidate, Candidate
from controller.compare.digest import request_digest
from controller.errors import check_limit, duration_text
from controller.experiment.run_spec import RunSpec
from controller.strategies.table import lookup
from controller.topology.nearest import hint

MOST_RUNS = 10_000
"""Runs of one comparison."""
RUN_S = 0.5
"""Wall time of a small run, guessed from 4 ms a decode step; not measured [s]."""
_NUMBERS = ("batch", "prompt_tokens", "output_tokens", "seq", "steps", "seed")
_TEXTS = ("model", "topology", "dtype", "quantization", "kv_dtype")


@dataclass(frozen=True, slots=True)
class Axis:
    """One swept key.

    Attributes:
        key: a workload field (``batch``), a declared value (``csd.count``) or an option of a strategy.
        values: in the order given.
    """

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One run of the comparison.

    Attributes:
        candidate: whose.
        at: value of each swept key.
        request: what to run.
        rivals: requests for the same by other strategies, of which the fastest gives the row.
    """

    candidate: Candidate
    at: Mapping[str, str]
    request: RunSpec
    rivals: tuple[RunSpec, ...] = ()

    @property
    def name(self) -> str:
        """What progress shows."""
        return " ".join([self.candidate.name, *(f"{key}={value}" for key, value in self.at.items())])

    @property
    def digest(self) -> str:
        """Names what was asked; the same question has the same digest on every machine."""
        rivals = "".join(request_digest(rival) for rival in self.rivals)
        return request_digest(self.request, f"{self.candidate.name}{rivals}")


def parse_axis(text: str) -> Axis:
    """``KEY=A,B,C`` as an axis.

    Raises:
        BadCandidate: no key, or a value that is empty or given twice.
    """
    key, equals, rest = text.partition("=")
    values = tuple(value.strip() for value in rest.split(","))
    if not equals or not key.strip() or "" in values:
        raise BadCandidate(f"--sweep {text!r}; write KEY=VALUE,VALUE, for example batch=16,64 or csd.count=1,2,4")
    if len(set(values)) != len(values):
        raise BadCandidate(f"--sweep {text!r} has a value twice")
    name = key.strip()
    return Axis(name if "." in name else name.replace("-", "_"), values)


def points(base: RunSpec, candidates: Sequence[Candidate], axes: Sequence[Axis]) -> tuple[Point, ...]:
    """Every candidate at every combination of the swept values, candidates innermost.

    Raises:
        BadCandidate: a key that nothing takes, an invalid value, or a name given twice.
    """
    for what, names in (
        ("a candidate", [candidate.name for candidate in candidates]),
        ("a swept key", [axis.key for axis in axes]),
    ):
        doubled = [name for index, name in enumerate(names) if name in names[:index]]
        if doubled:
            raise BadCandidate(f"{what} is there twice: {doubled[0]!r}; give each a name of its own")
    for axis in axes:
        _check_key(axis.key, candidates)
    count = len(candidates) * prod(len(axis.values) for axis in axes)
    check_limit(
        BadCandidate, "the number of runs of this grid", count, MOST_RUNS,
        f"at {RUN_S:g} s each on one core it takes {duration_text(count * RUN_S)}",
        "sweep fewer values or compare fewer candidates",
    )  # fmt: skip
    found: list[Point] = []
    for values in product(*(axis.values for axis in axes)):
        at = dict(zip((axis.key for axis in axes), values, strict=True))
        for candidate in candidates:
            request, *rivals = (_request(base, scheme, at) for scheme in (candidate, *candidate.rivals))
            found.append(Point(candidate, at, request, tuple(rivals)))
    return tuple(found)


def _request(base: RunSpec, candidate: Candidate, at: Mapping[str, str]) -> RunSpec:
    options = {**candidate.options, **base.options}
    request = replace(base, strategy=candidate.strategy, topology=candidate.topology, options=options)
    for key, value in at.items():
        request = _with(request, key, value)
    return request


def _check_key(key: str, candidates: Sequence[Candidate]) -> None:
    options = {name for candidate in candidates for name in lookup(candidate.strategy).options or {}}
    free = any(lookup(candidate.strategy).options is None for candidate in candidates)
    known = [*_NUMBERS, *_TEXTS, *sorted(options)]
    if "." not in key and key not in known and not free:
        raise BadCandidate(
            f"--sweep {key}: neither a part of the workload, nor a declared value (device.part), nor an option of "
            f"one of the strategies{hint(key, known, 'keys')}"
        )


def _with(request: RunSpec, key: str, value: str) -> RunSpec:
    if "." in key:
        return replace(request, overrides=(*request.overrides, f"{key}={value}"))
    if key in _NUMBERS:
        try:
            number = int(value)
        except ValueError:
            raise BadCandidate(f"--sweep {key}={value}: not a whole number") from None
        return _changed(request, key, number)
    if key in _TEXTS:
        return _changed(request, key, value)
    options = lookup(request.strategy).options
    if options is None or key in options:
        return replace(request, options={**request.options, key: value})
    return request  # a candidate without that option stays as it is, at every value


def _changed(request: RunSpec, field: str, value: int | str) -> RunSpec:
    changes: dict[str, Any] = {field: value}
    return replace(request, **changes)
