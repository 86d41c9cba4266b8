"""Messages of one connection arrive in the order of the plan; see conftest.py for the numbers."""

import pytest
from pytest import approx

from controller.errors import BadPlan
from controller.execute.critical import PathRecord
from controller.execute.dispatch import Dispatch
from controller.execute.virtual import run_virtual
from controller.fabric.loads import Fabric
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer

US, MS = 1e-6, 1e-3
MB = 1_000_000
EXACT = 1e-12
ALONE_S = 1 * MS
"""10 MB over 10 GB/s."""


def on(device: str, name: str, size: int = 10 * MB) -> Buffer:
    return Buffer(device, "dram" if device == "cpu" else "hbm", name, "fp32", (size // 4,))


def send(
    build: PlanBuilder, label: str, target: str = "cpu", size: int = 10 * MB, channel: str = "0", **options
) -> int:
    """Over two links of 10 GB/s and 1 us each: 2 us + 1 ms for 10 MB."""
    source, arrived = on("gpu0", f"{label}.from", size), on(target, f"{label}.to", size)
    return build.transfer(source, arrived, label=label, connection=channel, **options)


def test_the_second_message_follows_the_first_and_has_paid_its_latency_by_then(timed) -> None:
    build = PlanBuilder("two")
    send(build, "first")
    send(build, "second")
    outcome, spans = timed(build.plan())
    assert spans["first"][1] == approx(2 * US + ALONE_S, rel=EXACT)
    assert spans["second"][1] == outcome.time_s == approx(2 * US + 2 * ALONE_S, rel=EXACT)


def test_messages_of_two_channels_share_the_way(timed) -> None:
    build = PlanBuilder("channels")
    send(build, "first", size=10 * MB)
    send(build, "second", size=20 * MB, channel="1")
    _, spans = timed(build.plan())
    assert spans["first"][1] == approx(2 * US + 2 * ALONE_S, rel=EXACT)
    assert spans["second"][1] == approx(2 * US + 3 * ALONE_S, rel=EXACT)


def test_messages_to_two_devices_share_the_port(timed) -> None:
    build = PlanBuilder("two receivers")
    send(build, "first", "cpu")
    send(build, "second", "gpu1")
    _, spans = timed(build.plan())
    assert spans["first"][1] > 1.5 * ALONE_S and spans["second"][1] > 1.5 * ALONE_S


def test_a_message_waits_for_one_that_is_before_it_in_the_plan_and_not_ready(timed) -> None:
    """The first one's bytes are made by a kernel of 0.1 ms; the second would be ready at once."""
    build = PlanBuilder("late")
    build.kernel("copy", "gpu0", [on("gpu0", "seed")], [on("gpu0", "first.from")])
    send(build, "first")
    send(build, "second")
    _, spans = timed(build.plan())
    assert spans["second"][0] == spans["first"][1]
    assert spans["second"][1] - spans["first"][1] == approx(ALONE_S, rel=EXACT)


def test_two_plans_take_turns_on_a_connection(timed) -> None:
    """As KV pushes of two requests do: the one that was submitted first arrives first, and as if it were alone."""
    plans = []
    for name in ("early", "late"):
        build = PlanBuilder(name)
        send(build, name)
        plans.append(build.plan())
    _, spans = timed(plans)
    assert spans["early"][1] == approx(2 * US + ALONE_S, rel=EXACT)
    assert spans["late"][1] == approx(2 * US + 2 * ALONE_S, rel=EXACT)


def test_the_critical_path_goes_through_the_message_before(toy) -> None:
    build = PlanBuilder("two")
    send(build, "first")
    send(build, "second")
    plan, record = build.plan(), PathRecord()

    def program(run):
        for name in ("first", "second"):
            run.place(on("gpu0", f"{name}.from"), written=True)
            run.place(on("cpu", f"{name}.to"))
        yield run.submit(plan)

    run_virtual(toy(), [program], record=record)
    explained = record.explain()
    assert [(entry.label, entry.count) for entry in explained.path] == [("first", 1), ("second", 1)]
    assert explained.path_s == approx(2 * US + 2 * ALONE_S, rel=EXACT)


def test_a_copy_queue_and_a_connection_are_one_order_too_many(timed) -> None:
    build = PlanBuilder("both")
    send(build, "x", queue="copy")
    with pytest.raises(BadPlan, match=r"on the queue 'copy' and on the connection '0'; .* remove one"):
        timed(build.plan())


def test_a_node_is_told_to_send_a_message_after_the_one_before_it(toy) -> None:
    topology = toy()
    build = PlanBuilder("live")
    send(build, "first")
    send(build, "elsewhere", "gpu1")
    send(build, "second")
    send(build, "aside", channel="1")
    found = Dispatch(topology, Fabric(topology)).commands(build.plan(), 100, {})
    assert [push.wait for push in found["gpu0"]] == [(), (), (100,), ()]
