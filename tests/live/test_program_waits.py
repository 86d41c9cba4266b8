"""What programs wait for, on node processes: a repeated plan is executed every time, a cancelled one leaves nothing."""

import numpy as np
import pytest

from controller.execute.live import run_live
from controller.launch import launch
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.program.waits import wait_any
from controller.topology.loader import load_topology

pytestmark = pytest.mark.live


def test_repeating_executes_and_cancelling_gives_back():
    topology = load_topology("a6000_2csd", ("csd.count=1",))
    one, total, scratch = (Buffer("gpu", "hbm", name, "fp32", (1024,)) for name in ("one", "total", "scratch"))
    adding = PlanBuilder("adding")
    adding.kernel("add", "gpu", [one, total], [total])
    taking = PlanBuilder("taking")
    taking.alloc(scratch)
    taking.kernel("copy", "gpu", [one], [scratch])
    seen = []

    def program(run):
        run.place(one, np.ones(1024, np.float32))
        run.place(total, np.zeros(1024, np.float32))
        done = yield run.submit(adding.plan())
        yield run.repeat(done, 3)
        seen.append((yield run.fetch(total)).copy())
        ticket = run.submit(taking.plan())
        ended = yield wait_any(ticket, run.delay(0.0))
        assert ticket not in ended
        run.cancel(ticket)
        done = yield ticket
        assert done.cancelled
        run.place(scratch, np.full(1024, 7.0, np.float32))
        seen.append((yield run.fetch(scratch)).copy())

    with launch(topology) as cluster:
        outcome = run_live(topology, [program], cluster)
    assert outcome.ok
    assert (seen[0] == 4.0).all()
    assert (seen[1] == 7.0).all()
