"""What a group must get right: every algorithm of the tables that runs on it, as calls ready to be moved and counted.

A cluster is started once for a group and then does all of its calls, one after the other. Sizes are uneven on purpose:
fewer elements than ranks, so that some ranks own nothing, and a prime number, so that no chunk is like the next.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from controller.collectives.attention import measure as attending
from controller.collectives.attention.call import DTYPES as ATTENTION_DTYPES
from controller.collectives.attention.call import AttentionCall
from controller.collectives.attention.table import SCHEMES
from controller.collectives.call import NO_IN_PLACE, Call
from controller.collectives.errors import BadCall, BadGroup
from controller.collectives.group import Group, group_of
from controller.collectives.measure import calls as moving
from controller.collectives.table import COLLECTIVES
from controller.execute.outcome import Outcome
from controller.plan.size import bind_size
from controller.program.results import CollectiveResult, calls_of
from controller.program.run import CollectiveProgram, Run
from controller.topology.schema import Topology

ATTENTION = "attention"
"""Stands for a collective in the names of schemes of attention."""
PRIME = 1021
"""Elements of the larger calls."""
_TOKENS_A_RANK, _HEADS, _KV_HEADS, _HEAD_DIM = 6, 4, 2, 8


def names() -> tuple[str, ...]:
    """``collective/algorithm`` of every entry of both tables, in their order."""
    collectives = [f"{collective}/{name}" for collective, entries in COLLECTIVES.items() for name in entries]
    return (*collectives, *(f"{ATTENTION}/{scheme}" for scheme in SCHEMES))


@dataclass(frozen=True, slots=True)
class Check:
    """One call and what it came to.

    Attributes:
        name: ``collective/algorithm``.
        dtype: element type.
        count: elements of the longer side of one rank, or tokens of a whole prompt.
        in_place: whether input and output share a buffer.
        pieces: independent parts of each chunk.
        elements: of the results of all ranks, each of which is compared.
        entry: of `measure.calls` or of `collectives.attention.measure`; has `wrong` after `note` of a live run.
    """

    name: str
    dtype: str
    count: int
    in_place: bool
    pieces: int
    elements: int
    entry: moving.MeasuredCall | attending.MeasuredAttention


@dataclass(slots=True)
class Suite:
    """All calls of one group.

    Attributes:
        group: the ranks.
        checks: in the order in which they run.
        refused: why an algorithm does not run on this group, by ``collective/algorithm, type``.
    """

    group: Group
    checks: list[Check] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def suite(group: Group, wanted: Collection[str], dtypes: Sequence[str], *, by_hosts: bool = False) -> Suite:
    """Every call of a group: types, sizes, in and out of place, one and two pieces.

    Args:
        group: the ranks.
        wanted: of `names`.
        dtypes: element types; attention leaves out those that it does not run in.
        by_hosts: leave out what does the same as on one host.

    Raises:
        BadCall: an element type that no collective has.
    """
    found = Suite(group)
    flat = replace(group, hosts=(), in_hosts=group.in_switch)
    for collective, entries in COLLECTIVES.items():
        for name in entries:
            title = f"{collective}/{name}"
            if title not in wanted:
                continue
            for dtype in dtypes:
                for call in _calls(collective, group, dtype):
                    try:
                        entry = moving.prepare(call, name)
                    except BadCall as error:
                        found.refused.setdefault(f"{title}, {dtype}", str(error))
                        continue
                    if by_hosts and _same_on_one_host(entry, replace(call, group=flat)):
                        continue
                    elements = sum(_elements(call.output(rank).shape) for rank in range(group.world_size))
                    found.checks.append(Check(title, dtype, call.count, call.in_place, call.pieces, elements, entry))
    for scheme in SCHEMES if not by_hosts else ():
        title = f"{ATTENTION}/{scheme}"
        for dtype in dtypes if title in wanted else ():
            if dtype in ATTENTION_DTYPES:
                tokens = _TOKENS_A_RANK * group.world_size
                prompt = AttentionCall(group, tokens, _HEADS, _KV_HEADS, _HEAD_DIM, dtype=dtype)
                elements = tokens * _HEADS * _HEAD_DIM
                found.checks.append(Check(title, dtype, tokens, False, 1, elements, attending.prepare(prompt, scheme)))
    return found


def program_of(found: Suite, seed: int = 0) -> Callable[[Run], CollectiveProgram]:
    """A program that runs all calls of a suite and returns what they came to, for `note`."""
    moved, attended = _moved(found), _attended(found)

    def go(run: Run) -> CollectiveProgram:
        one = yield from moving.program_of(moved, seed)(run)
        other = yield from attending.program_of(attended, seed)(run)
        return CollectiveResult((*one.calls, *other.calls))

    return go


def note(found: Suite, outcome: Outcome) -> None:
    """Writes into each check what its call came to in the run of `program_of`; nothing where the run failed."""
    entries: list[moving.MeasuredCall | attending.MeasuredAttention] = [*_moved(found), *_attended(found)]
    for entry, call in zip(entries, calls_of(outcome.result), strict=outcome.ok):
        entry.time_s, entry.wrong = call.time_s, call.wrong


def _moved(found: Suite) -> list[moving.MeasuredCall]:
    return [check.entry for check in found.checks if isinstance(check.entry, moving.MeasuredCall)]


def _attended(found: Suite) -> list[attending.MeasuredAttention]:
    return [check.entry for check in found.checks if isinstance(check.entry, attending.MeasuredAttention)]


def spread(topology: Topology, ranks: int, hosts: int) -> Group:
    """So many ranks over so many hosts of a topology, as evenly as goes; the first hosts have one more.

    Raises:
        BadGroup: fewer hosts than asked for, or fewer devices in one of them.
    """
    found: dict[str, list[str]] = {}
    for device in topology.devices.values():
        if device.spec.kind == "gpu":
            found.setdefault(device.host, []).append(device.name)
    chosen: list[str] = []
    for index in range(hosts):
        share = ranks // hosts + (index < ranks % hosts)
        if index >= len(found) or share > len(tuple(found.values())[index]):
            raise BadGroup(
                f"{topology.name} has {', '.join(str(len(devices)) for devices in found.values())} GPUs in its hosts, "
                f"too few for {ranks} ranks over {hosts} hosts; declare more"
            )
        chosen += tuple(found.values())[index][:share]
    return group_of(topology, chosen)


def _calls(collective: str, group: Group, dtype: str) -> list[Call]:
    """One and two pieces take turns, so that each size is seen with both."""
    if collective == "barrier":
        return [Call(collective, group, 1, dtype)]
    fewer = max(1, group.world_size - 1)
    ways = (False,) if collective in NO_IN_PLACE else (False, True)
    return [
        Call(collective, group, count, dtype, in_place, root=(index + turn) % group.world_size, pieces=1 + turn)
        for index, count in enumerate((fewer, PRIME))
        for in_place in ways
        for turn in ((index + in_place) % 2,)
    ]


def _same_on_one_host(entry: moving.MeasuredCall, call: Call) -> bool:
    try:
        other = moving.prepare(call, entry.algorithm)
    except BadCall:
        return False
    return (entry.plan.ops, entry.plan.after) == (other.plan.ops, other.plan.after)


def _elements(shape: Sequence[object]) -> int:
    (extent,) = shape
    assert isinstance(extent, int)
    return bind_size(extent, {})
