"""Digests of the plans of all collectives: ``python tests/support/collective_digest.py [--update]``.

A rewrite of an algorithm keeps every op, every range of bytes, every name of a buffer and every edge.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from controller.collectives.call import NO_IN_PLACE, Call
from controller.collectives.errors import BadCall
from controller.collectives.group import Group, InSwitch
from controller.collectives.measure.calls import prepare
from controller.collectives.table import COLLECTIVES
from controller.plan.ops import Kernel, Op, Plan, Transfer, View

GOLDEN = Path(__file__).parents[1] / "golden" / "collectives.json"
_ABLE = InSwitch(("fp32", "bf16"), True)
_HOSTS = {
    "one host": lambda rank, size: 0,
    "two hosts": lambda rank, size: rank * 2 // size,
    "two hosts in turn": lambda rank, size: rank % 2,
    "a host each": lambda rank, size: rank,
}
"""Host of a rank among `size`."""


def _view(view: View) -> str:
    buffer = view.buffer
    return f"{buffer} {buffer.dtype} {buffer.shape} {view.offset_bytes} {view.shape}"


def _op(op: Op) -> str:
    if isinstance(op, Kernel):
        sides, rest = (op.inputs, op.outputs), f"{op.op} {op.device} {sorted(op.attributes.items())}"
    else:
        assert isinstance(op, Transfer)
        sides, rest = (op.sources, op.destinations), f"{op.reduction} {op.path} {op.rate_limit_bytes_per_s}"
    return " ".join((rest, op.queue, op.label, *(str([_view(view) for view in side]) for side in sides)))


def digest_of(plan: Plan) -> str:
    """Sixteen hexadecimal digits of all ops and edges."""
    lines = [f"{_op(op)} after {after}" for op, after in zip(plan.ops, plan.after, strict=True)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def calls(collective: str, group: Group) -> Iterator[Call]:
    """Even and uneven sizes, in and out of place, whole and in pieces, from two roots."""
    for count in (1,) if collective == "barrier" else (5, 48, 1021):
        for in_place in (False,) if collective in NO_IN_PLACE else (False, True):
            for pieces in (1, 3):
                for root in {0, group.world_size - 1}:
                    yield Call(collective, group, count, "fp32", in_place, root, pieces)


def digests(sizes: Sequence[int] = (1, 2, 3, 4, 6, 8, 12)) -> dict[str, str]:
    """Algorithm, ranks and hosts to the digest of all its plans, or to why it cannot run."""
    found: dict[str, str] = {}
    for size in sizes:
        for name, host in _HOSTS.items():
            devices = tuple(f"gpu{rank}" for rank in range(size))
            hosts = tuple(f"host{host(rank, size)}" for rank in range(size))
            group = Group(devices, ("hbm",) * size, hosts, _ABLE, _ABLE)
            for collective, algorithms in COLLECTIVES.items():
                for algorithm in algorithms:
                    key = f"{collective}/{algorithm} of {size}, {name}"
                    try:
                        plans = [prepare(call, algorithm).plan for call in calls(collective, group)]
                    except BadCall as error:
                        found[key] = str(error)
                        continue
                    found[key] = hashlib.sha256(" ".join(map(digest_of, plans)).encode()).hexdigest()[:16]
    return dict(sorted(found.items()))


def load() -> Mapping[str, str]:
    """The golden file."""
    loaded: Mapping[str, str] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return loaded


if __name__ == "__main__":
    new = digests()
    if "--update" in sys.argv[1:]:
        GOLDEN.write_text(json.dumps(new, indent=1) + "\n", encoding="utf-8")
    else:
        old = load()
        wrong = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        print(*wrong, f"{len(new)} entries, {len(wrong)} differ", sep="\n")
        sys.exit(bool(wrong))
