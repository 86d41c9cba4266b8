"""What a trace holds: a span on the queue of an op and on everything that it loads, up to a limit that is told."""

from pytest import approx

from controller.execute.trace import Span, Trace
from controller.execute.virtual import run_virtual
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer

MB = 1_000_000
A, B = (Buffer("gpu0", "hbm", name, "uint8", (10 * MB,)) for name in "ab")
FAR = Buffer("cpu", "dram", "far", "uint8", (10 * MB,))


def traced(toy, limit: int = 1000) -> Trace:
    build = PlanBuilder("plan")
    build.kernel("copy", "gpu0", [A], [B], label="kernel")
    build.transfer(B, FAR, queue="copy", label="move")

    def program(run):
        for buffer in (A, B, FAR):
            run.place(buffer, written=True)
        yield run.submit(build.plan())
        yield run.submit(build.plan())

    trace = Trace(limit=limit)
    run_virtual(toy(), [program], trace=trace)
    return trace


def test_tracks_of_a_kernel_and_of_a_transfer(toy) -> None:
    trace = traced(toy)
    first = {(span.device, span.track, span.name) for span in trace.spans if span.end_at < 1.2e-3}
    assert first == {
        ("gpu0", "stream", "kernel"),
        ("gpu0", "hbm.read", "kernel"),
        ("gpu0", "hbm.write", "kernel"),
        ("gpu0", "copy", "move"),
        ("gpu0", "hbm.read", "move"),
        ("gpu0", "pcie.read", "move"),
        ("fabric", "gpu0.pcie-root>", "move"),
        ("fabric", "cpu.pcie-root<", "move"),
        ("cpu", "pcie.write", "move"),
        ("cpu", "dram.write", "move"),
    }
    assert len(trace.spans) == 2 * len(first)


def test_spans_say_what_was_moved(toy) -> None:
    span = next(span for span in traced(toy).spans if span.track == "gpu0.pcie-root>")
    assert span.detail == {"plan": "plan", "from": "gpu0.hbm/b", "to": "cpu.dram/far", "bytes": 10.0 * MB}
    assert (span.start_at, span.end_at) == (approx(0.1e-3), approx(1.102e-3))
    kernel = next(span for span in traced(toy).spans if span.track == "stream")
    assert kernel.detail == {"plan": "plan", "op": "copy", "bytes": 20.0 * MB}


def test_what_is_left_out_is_counted(toy) -> None:
    whole, cut = traced(toy), traced(toy, limit=4)
    assert cut.spans == whole.spans[:4]
    assert cut.dropped > 0
    assert whole.dropped == 0


def test_a_full_trace_takes_nothing_more() -> None:
    trace = Trace(limit=1)
    for index in range(3):
        trace.add(Span("gpu", "stream", f"op{index}", 0.0, 1.0))
    assert ([span.name for span in trace.spans], trace.dropped) == (["op0"], 2)
