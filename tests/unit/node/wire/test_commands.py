"""Commands as messages: columns, calls that are described once, and calls that look alike and are not."""

from __future__ import annotations

import pytest

from node.errors import BadAttribute, OutOfRange
from node.wire import commands
from node.wire.commands import Allocate, CallTable, LaunchKernel, Operand, Push, Release, attribute_value, operand_value

X = Operand("x", 4, (2, 3))


def test_a_call_is_described_once() -> None:
    table = CallTable()
    first = table.batch(
        1, [LaunchKernel(1, "add", (X, X), (X,)), LaunchKernel(2, "add", (X, X), (X,), wait=(1,))], 0.5, 9.0
    )
    assert len(first.calls) == 1
    assert list(first.id) == [1, 2] and list(first.call) == [0, 0]
    assert list(first.wait_count) == [0, 1] and list(first.wait) == [1]
    assert (first.batch, first.ready_at, first.timeout_s) == (1, 0.5, 9.0)
    again = table.batch(
        2, [LaunchKernel(3, "add", (X, X), (X,), notify=("b", "c")), Release(4, "x", notify=("c",))], 0.0, 9.0
    )
    assert [call.WhichOneof("kind") for call in again.calls] == ["free"]
    assert list(again.devices) == ["b", "c"]
    assert list(again.notify_count) == [2, 1] and list(again.notify) == [0, 1, 1]


def test_values_that_are_equal_in_python_are_different_calls() -> None:
    batch = CallTable().batch(
        1, [LaunchKernel(n, "op", (), (), {"a": value}) for n, value in enumerate((1, 1.0, True))], 0, 1
    )
    assert [attribute_value(call.launch.attributes["a"]) for call in batch.calls] == [1, 1.0, True]
    assert [type(attribute_value(call.launch.attributes["a"])) for call in batch.calls] == [int, float, bool]


def test_calls_come_back_as_they_were() -> None:
    attributes = {"scale": 0.5, "causal": True, "kind": "gelu", "starts": (0, 7), "position": -1}
    push = Push(2, X, (("b", X), ("c", X)), "copy", latency_s=1e-6, out_port="pcie", in_port="nic", links=("l>",))
    batch = CallTable().batch(
        1, [LaunchKernel(1, "op", (X,), (), attributes), push, Allocate(3, "y", "hbm", "bf16", (4, 5))], 0.0, 1.0
    )
    launch, pushed, allocate = batch.calls
    assert {name: attribute_value(value) for name, value in launch.launch.attributes.items()} == attributes
    assert operand_value(launch.launch.inputs[0]) == X
    assert [(there.device, operand_value(there.operand)) for there in pushed.push.destinations] == [("b", X), ("c", X)]
    assert (pushed.queue, pushed.push.latency_s, list(pushed.push.links)) == ("copy", 1e-6, ["l>"])
    assert (allocate.allocate.tier, list(allocate.allocate.shape)) == ("hbm", [4, 5])


def test_far_memory_is_named_and_makes_another_call() -> None:
    far = Operand("x", 4, (2, 3), "card")
    batch = CallTable().batch(1, [LaunchKernel(1, "op", (X,), (X,)), LaunchKernel(2, "op", (X,), (far,))], 0.0, 1.0)
    assert len(batch.calls) == 2
    assert operand_value(batch.calls[1].launch.outputs[0]) == far


def test_a_full_table_starts_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "MAX_CALLS", 3)
    table = CallTable()
    assert not table.batch(1, [Release(1, "a"), Release(2, "b")], 0.0, 1.0).forget_calls
    full = table.batch(2, [Release(3, "a"), Release(4, "c")], 0.0, 1.0)
    assert full.forget_calls and len(full.calls) == 2


def test_commands_that_cannot_be_meant() -> None:
    with pytest.raises(BadAttribute, match="'a'"):
        CallTable().batch(1, [LaunchKernel(1, "op", (), (), {"a": [1]})], 0.0, 1.0)  # type: ignore[dict-item]
    with pytest.raises(OutOfRange, match="negative"):
        CallTable().batch(1, [LaunchKernel(1, "op", (Operand("x", -1, (1,)),), ())], 0.0, 1.0)
