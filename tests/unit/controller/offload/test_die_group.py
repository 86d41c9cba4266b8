"""One die stands for all: its exchange takes as long as that of all dies together."""

import pytest

from controller.execute.virtual import run_virtual
from controller.offload.die_group import FLAG_BYTES, die_group
from controller.offload.scratch import Scratch
from controller.plan.ops import Buffer
from controller.plan.script import Script
from controller.reproduce.cloudmatrix384 import OPERATORS, TOKENS, operator_time_s
from controller.topology.loader import load_topology

EXPERTS_PER_TOKEN = 8


def exchange_s(size: int, name: str) -> float:
    topology = load_topology("cloudmatrix384", ("npu.issue.launch=0 us",))
    group, took = die_group(topology, size), []
    operator = OPERATORS["cann", name]

    def go(run):
        scratch = Scratch("exchange")
        s = Script("exchange", scratch)
        message = Buffer(group.place.device, "hbm", "message", "int8",
                         (TOKENS * EXPERTS_PER_TOKEN * operator.message_bytes,))  # fmt: skip
        flag = Buffer(group.place.device, "hbm", "flag", "int8", (FLAG_BYTES,))
        s.results("delay", on=group.place, out=(), queue="fused", seconds=operator.fixed_us["per_peer"] * 1e-6)
        sent = group.exchange(s, message, "data", (0,))
        group.flags(s, flag, "flag", sent, a_peer=operator.flags == "per_peer")
        plan = s.plan()
        for buffer in (message, flag):
            run.place(buffer, written=True)
        scratch.place(run)
        ended = yield run.submit(plan)
        took.append(ended.end_at - ended.submitted_at)

    outcome = run_virtual(topology, [go])
    assert outcome.ok, outcome.ended
    return took[0]


@pytest.mark.parametrize(
    ("size", "name"), [(32, "dispatch"), (32, "combine"), pytest.param(128, "dispatch", marks=pytest.mark.slow)]
)
def test_it_takes_as_long_as_the_exchange_of_all_dies(size, name):
    assert exchange_s(size, name) == pytest.approx(operator_time_s("cann", name, size, "per_peer"), rel=0.05)
