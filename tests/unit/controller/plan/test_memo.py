"""What is kept of a plan goes with it, is not that of an equal one, and is bounded where values keep plans alive."""

import gc

from controller.plan.memo import PlanMemo
from controller.plan.ops import Plan


def test_a_value_is_made_once_for_each_plan() -> None:
    memo: PlanMemo[list[str]] = PlanMemo()
    first, equal = Plan("p", (), ()), Plan("p", (), ())
    assert memo.of(first, lambda plan: [plan.name]) is memo.of(first, lambda _: ["again"])
    assert memo.get(equal) is None


def test_what_is_kept_goes_with_the_plan() -> None:
    memo: PlanMemo[int] = PlanMemo()
    plans = [Plan(str(number), (), ()) for number in range(5)]
    for number, plan in enumerate(plans):
        memo.put(plan, number)
    del plan
    kept = plans.pop()
    plans.clear()
    gc.collect()
    assert (len(memo._kept), memo.get(kept)) == (1, 4)


def test_the_latest_plans_stay_where_values_refer_to_theirs() -> None:
    memo: PlanMemo[Plan] = PlanMemo(most=2)
    plans = [Plan(str(number), (), ()) for number in range(3)]
    for plan in plans:
        memo.put(plan, plan)
    assert [memo.get(plan) for plan in plans] == [None, plans[1], plans[2]]
