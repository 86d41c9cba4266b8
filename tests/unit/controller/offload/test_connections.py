"""Pushes of keys and values, and streams from GPU to GPU, arrive in the order in which they were sent."""

import pytest

from controller.execute.trace import Trace
from controller.execute.virtual import run_virtual
from controller.models.catalog import load_model
from controller.models.scenario import Scenario
from controller.offload.gpu_model import GpuModel
from controller.plan.ops import Buffer, Transfer
from controller.plan.script import Script
from controller.strategies.instinfer import InstInfer
from controller.topology.loader import load_topology


def transfers(plan, label):
    return [op for op in plan.ops if isinstance(op, Transfer) and op.label == label]


def test_messages_of_one_connection_follow_one_another():
    """Two of 28 MB to a drive of 3.78 GB/s: the first ends after half of the time, not both at its end."""
    count = 14_000_000
    ends = {}
    for connection in ("", "kv"):
        topology = load_topology("a6000_csd")
        sources = [Buffer("gpu", "hbm", f"source{index}", "fp16", (count,)) for index in range(2)]
        target = Buffer("csd0", "flash", "kept", "fp16", (2, count))
        s = Script("push")
        for index, source in enumerate(sources):
            s.move(source, target.rows(index, index + 1), "kv push", connection=connection)
        plan = s.plan()
        found = []

        def program(run, plan=plan, buffers=(*sources, target), found=found):
            for buffer in buffers:
                run.place(buffer, written=True)
            done = yield run.submit(plan)
            found.append(done.end_at)

        trace = Trace()
        run_virtual(topology, [program], trace=trace)
        ends[connection] = found[0]
        spans = sorted(span.end_at for span in trace.spans if span.name == "kv push")
        first = spans[0] / spans[-1]
        assert first == pytest.approx(0.5 if connection else 1.0, rel=0.02)
    assert ends["kv"] == pytest.approx(ends[""], rel=1e-3)


def scenario(topology, *overrides, model="tiny-opt"):
    return Scenario(load_topology(topology, overrides), load_model(model), 4, 16, 4, "fp16")


def test_pushes_of_the_prompt_and_streams_between_gpus_name_their_connection():
    class Placed:
        live = False

        def place(self, *args, **kwargs):
            pass

        def progress(self, *args):
            pass

        def note(self, text):
            pass

    decoder = InstInfer(scenario("a6000_csd", "gpu.count=2"))
    decoder.place(Placed())
    plan = next(decoder.prefill()).plan
    assert {op.connection for op in transfers(plan, "kv push")} == {"kv"}
    assert {op.connection for op in transfers(plan, "next gpu")} == {"pipeline"}
    assert GpuModel(decoder.scenario).gpus
