"""The rates of a few flows are the max-min fair ones: every flow has a reason not to be faster."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from node.memory.resources import SharedResource
from node.memory.sharing import max_min_rates

RESOURCES = 4


@st.composite
def situations(
    draw: st.DrawFn,
) -> tuple[list[SharedResource], list[tuple[float, tuple[tuple[SharedResource, float], ...]]]]:
    resources = [SharedResource(f"r{index}", draw(st.floats(0.1, 1e12))) for index in range(RESOURCES)]
    flows = []
    for _ in range(draw(st.integers(0, 7))):
        chosen = draw(st.lists(st.integers(0, RESOURCES - 1), unique=True, max_size=RESOURCES))
        loads = tuple((resources[index], draw(st.floats(0.01, 100.0))) for index in sorted(chosen))
        limit = draw(st.floats(0.1, 1e12)) if not loads or draw(st.booleans()) else float("inf")
        flows.append((limit, loads))
    return resources, flows


@settings(max_examples=200, deadline=None)
@given(situations())
def test_the_certificate_of_max_min(situation) -> None:  # type: ignore[no-untyped-def]
    resources, flows = situation
    rates = max_min_rates(flows)
    used = dict.fromkeys((resource.name for resource in resources), 0.0)
    for rate, (limit, loads) in zip(rates, flows, strict=True):
        assert 0 < rate <= limit * (1 + 1e-6)
        for resource, weight in loads:
            used[resource.name] += rate * weight
    for resource in resources:
        assert used[resource.name] <= resource.capacity * (1 + 1e-6)
    for rate, (limit, loads) in zip(rates, flows, strict=True):
        at_limit = rate >= limit * (1 - 1e-6)
        bottleneck = any(
            used[resource.name] >= resource.capacity * (1 - 1e-6)
            and all(
                other <= rate * (1 + 1e-6)
                for other, (_, others) in zip(rates, flows, strict=True)
                if any(there is resource for there, _ in others)
            )
            for resource, _ in loads
        )
        assert at_limit or bottleneck


@given(situations(), st.randoms(use_true_random=False))
def test_the_order_of_flows_does_not_matter(situation, order) -> None:  # type: ignore[no-untyped-def]
    _, flows = situation
    places = list(range(len(flows)))
    order.shuffle(places)
    shuffled = max_min_rates([flows[place] for place in places])
    for place, rate in zip(places, shuffled, strict=True):
        assert abs(rate - max_min_rates(flows)[place]) <= 1e-6 * rate
