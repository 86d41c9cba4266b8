"""What the network stack between the pools gives, measured by executing messages: ``--probe network``.

A ping-pong of a single element between the first device of each pool, then one long message.
"""

from __future__ import annotations

from typing import Final

from controller.models.scenario import Scenario
from controller.offload.fixed_batch import Pools
from controller.offload.network_stack import NetworkStack
from controller.plan.ops import Buffer
from controller.plan.script import Script
from controller.program.run import Program, Run
from controller.program.waits import Completion

ROUNDS: Final = 100
"""Round trips of the ping-pong."""
LONG_BYTES: Final = 1 << 30
"""Size of the long message [bytes]."""


def probe_network(run: Run, scenario: Scenario, pools: Pools) -> Program:
    """Figures ``round_trip_s`` and ``bytes_per_s`` (which includes the first byte's way)."""
    stack = NetworkStack(scenario.topology, pools.stack)
    model, memory = pools.replicas[0][0], pools.memories[0]
    there, back, far = (Buffer(device, "hbm", f"ping_{device}", "int8", (1,)) for device in (model, memory, model))
    s = Script("ping-pong")
    last: tuple[int, ...] = ()
    for _ in range(ROUNDS):
        for source, target in ((there, back), (back, far)):
            stack.send(s, [(source, target)], "ping", last)
            last = (s.count - 1,)
    run.place(there, written=True)
    run.place(back)
    done: Completion = yield run.submit(s.plan())
    run.figure("round_trip_s", (done.end_at - done.submitted_at) / ROUNDS)
    run.mark("ping-pong")
    size = LONG_BYTES if not run.live else 1 << 20
    out, into = (Buffer(device, "hbm", f"long_{device}", "int8", (size,)) for device in (model, memory))
    run.place(out, written=True)
    run.place(into)
    s = Script("long message")
    stack.send(s, [(out, into)], "long")
    done = yield run.submit(s.plan())
    run.figure("bytes_per_s", size / (done.end_at - done.submitted_at))
    run.mark("long message")
