"""A rewrite of a collective keeps its plans: ops, ranges, names of buffers and edges.

Larger groups: ``python tests/support/collective_digest.py``, half a minute by hand.
"""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from collective_digest import digest_of, digests, load

from controller.collectives.call import Call
from controller.collectives.group import Group
from controller.collectives.measure.calls import prepare


def test_every_algorithm_makes_the_plans_that_it_made() -> None:
    found = digests(sizes=(1, 3, 4))
    assert found == {name: digest for name, digest in load().items() if name in found}
    assert {name.partition(" of ")[0] for name in found} == {name.partition(" of ")[0] for name in load()}


def test_another_op_order_or_range_is_seen() -> None:
    group = Group(("gpu0", "gpu1", "gpu2"), ("hbm",) * 3)
    plan = prepare(Call("all_reduce", group, 37), "ring").plan
    assert digest_of(plan) != digest_of(prepare(Call("all_reduce", group, 38), "ring").plan)
    assert digest_of(plan) != digest_of(replace(plan, ops=(plan.ops[1], plan.ops[0], *plan.ops[2:])))
    assert digest_of(plan) != digest_of(replace(plan, after=((), *plan.after[1:-1], ())))
