"""Commands to drives take the one thread of their host, which makes a step grow with the number of drives."""

from dataclasses import replace

import pytest

from controller.execute.virtual import run_virtual
from controller.models.catalog import load_model
from controller.models.scenario import Scenario
from controller.offload.host_commands import HostCommands
from controller.plan.script import Script
from controller.strategies.instinfer import instinfer
from controller.topology.loader import load_topology


def decode_s(drives, batch, *overrides, **options):
    topology = load_topology("a6000_csd", [f"csd.count={drives}", *overrides])
    asked = Scenario(topology, load_model("opt-1.3b"), batch, 16, 3, "fp16", options=options)
    outcome = run_virtual(topology, [lambda run: instinfer(run, asked)])
    return outcome.phases["decode"] / 2


def test_a_step_pays_a_command_for_each_sequence_layer_and_drive():
    """24 layers; with a drive more, 8 more commands a layer, one after the other."""
    free = "cpu.commands.launch=1 ns"
    for drives in (2, 4):
        paid = decode_s(drives, 8) - decode_s(drives, 8, free)
        # The drive that is told last is the last to end, so nearly all of it is in the open.
        assert paid == pytest.approx(24 * drives * 8 * 3.05e-6, rel=0.35)
    assert decode_s(4, 8) > decode_s(4, 8, free)


def test_a_host_without_such_a_thread_submits_for_nothing():
    topology = load_topology("a6000_csd")
    cpu = topology.devices["cpu"]
    queues = {name: queue for name, queue in cpu.spec.queues.items() if queue.kind != "command"}
    bare = replace(topology, devices={**topology.devices, "cpu": replace(cpu, spec=replace(cpu.spec, queues=queues))})
    s = Script("step")
    assert HostCommands(bare, "csd0").submit(s, 4) == () and not s.emitted
    assert HostCommands(topology, "csd0").submit(s, 0) == () and not s.emitted


def test_commands_are_one_op_on_the_thread_of_the_host():
    s = Script("step")
    assert HostCommands(load_topology("a6000_csd"), "csd0").submit(s, 4) == (0,)
    (op,) = s.emitted
    assert (op.device, op.queue, op.label) == ("cpu", "commands", "submit")
    assert op.attributes["seconds"] == pytest.approx(4 * 3.05e-6)
