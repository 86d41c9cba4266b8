"""A collective takes multiprocessors and memory from what runs beside it, and both are declared."""

import pytest

from controller.collectives.alongside import CHANNELS, alongside, on_channels
from controller.collectives.call import Call
from controller.collectives.errors import BadCall
from controller.collectives.group import first_ranks
from controller.collectives.measure.calls import buffers_of, prepare
from controller.collectives.protocol import as_seen, protocol_of
from controller.execute.virtual import run_virtual
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Kernel
from controller.topology.loader import load_topology

DGX = load_topology("dgx_h100")
GROUP = first_ranks(DGX, 8)


def gemm(size=8192):
    build = PlanBuilder("gemm")
    x, w, y = (Buffer("gpu0", "hbm", name, "bf16", (size, size)) for name in "xwy")
    build.kernel("linear", "gpu0", [x, w], [y])
    return build.plan(), (x, w, y)


def gemm_s(topology, collective=None):
    """Time of a GEMM, with a collective beside it."""
    plan, buffers = gemm()
    ended = {}

    def go(run):
        for buffer in buffers:
            run.place(buffer, written=True)
        tickets = [run.submit(plan)]
        if collective is not None:
            for buffer in buffers_of(collective):
                run.place(buffer, written=True)
            tickets.append(run.submit(on_channels(collective.plan)))
        for ticket in tickets:
            done = yield ticket
            ended[done.ticket.plan] = done.end_at

    assert run_virtual(topology, [go]).ok
    return ended["gemm"], ended


def test_a_gemm_beside_a_collective_loses_the_multiprocessors_of_its_channels():
    nvls = protocol_of(DGX, "nvls")
    assert nvls.sms == 16
    beside = alongside(DGX, GROUP, nvls)
    entry = prepare(Call("all_reduce", GROUP, 1 << 26, "bf16", pieces=8), "nvls", nvls)
    alone, _ = gemm_s(as_seen(DGX, GROUP, nvls))
    slowed, ended = gemm_s(beside, entry)
    # 16 of 132 are taken; whole waves of tiles make it a little more or less.
    assert slowed / alone == pytest.approx(132 / 116, rel=0.06)
    assert ended[entry.plan.name] > 0


def test_more_channels_slow_it_more():
    few = load_topology("dgx_h100", ["options.collective.nvls.sms=4"])
    many = load_topology("dgx_h100", ["options.collective.nvls.sms=64"])
    times = [gemm_s(alongside(each, GROUP, protocol_of(each, "nvls")))[0] for each in (few, many)]
    assert times[1] / times[0] > 1.6


def test_memory_is_shared_too():
    """A kernel bound by memory slows the copies of the channels, and they slow it."""
    nvls = protocol_of(DGX, "nvls")
    beside = alongside(DGX, GROUP, nvls)
    assert beside.devices["gpu0"].spec.tiers == DGX.devices["gpu0"].spec.tiers
    assert as_seen(DGX, GROUP, nvls).devices["gpu0"].spec.tiers != DGX.devices["gpu0"].spec.tiers


def test_kernels_of_the_library_have_a_queue_of_their_own():
    entry = prepare(Call("all_reduce", GROUP, 64), "ring", protocol_of(DGX, "ll"))
    queues = {op.queue for op in on_channels(entry.plan).ops if isinstance(op, Kernel)}
    assert queues == {CHANNELS}
    assert alongside(DGX, GROUP, protocol_of(DGX, "ll")).devices["gpu0"].spec.compute_queue.name == "stream"


def test_too_many_channels_are_refused():
    crowded = load_topology("dgx_h100", ["options.collective.nvls.sms=132"])
    with pytest.raises(BadCall, match="takes 132 multiprocessors"):
        alongside(crowded, GROUP, protocol_of(crowded, "nvls"))
