"""Scripts: placed values, the author's order, and errors that name the author's line."""

from typing import Any

import pytest

from controller.errors import BadPlan
from controller.execute.virtual import VirtualRun, run_virtual
from controller.experiment.run_spec import RunSpec
from controller.experiment.virtual import prepare, virtual_scenario
from controller.plan.bound import bind_kernel
from controller.plan.check import accesses, check_plan
from controller.plan.ops import Buffer, Kernel, Origin, Plan, Transfer, View
from controller.plan.script import Place, Script
from controller.plan.size import symbol
from controller.topology.loader import load_topology
from node.hardware.operations.results import RESULTS, result_types

GPU, CPU = Place("gpu", "hbm"), Place("cpu", "dram")
X = Buffer("gpu", "hbm", "x", "fp16", (4, 64))
W = Buffer("gpu", "hbm", "w", "fp16", (32, 64))
OUT = Buffer("gpu", "hbm", "out", "fp16", (4, 32))
CLUSTER = load_topology("a6000_ssd")


def test_shapes_follow_from_the_table_and_the_plan_passes_the_full_check() -> None:
    s = Script("chain")
    h = s.op("linear", X, W)
    far = s.move(h, CPU, "send h")
    near = s.move(s.op("activation", far, kind="relu"), GPU)
    s.op("copy", near, out=OUT)
    plan = s.plan()
    assert (h.shape, h.dtype, far.place) == ((4, 32), "fp16", CPU)
    assert [type(op) for op in plan.ops] == [Kernel, Transfer, Kernel, Transfer, Kernel]
    assert (plan.after[:3], plan.after[4]) == (((), (0,), (1,)), (3,))
    assert max(plan.after[3]) == 2  # and the ops before it, since the value takes the place of `h`
    assert plan.origin is Origin.BUILDER
    check_plan(plan, CLUSTER)


def test_a_dead_value_leaves_its_place_to_a_later_one_and_microbatches_share_none() -> None:
    s = Script("reuse")
    for microbatch in (0, 1):
        s.microbatch = microbatch
        x = s.op("linear", X, W)
        for _ in range(5):
            x = s.op("activation", x, kind="relu")
        s.op("copy", x, out=OUT)
    plan = s.plan()
    arenas = {view.buffer for op in plan.ops for view in (*accesses(op)[0], *accesses(op)[1])} - {X, W, OUT}
    assert sorted(arena.nbytes for arena in arenas) == [512, 512]  # two values of 256 bytes at a time
    assert all(0 not in after for after in plan.after[7:13])


def test_the_second_result_of_an_attention_may_stay_unused() -> None:
    q = Buffer("gpu", "hbm", "q", "fp16", (2, 4, 16))
    k = Buffer("gpu", "hbm", "k", "fp16", (2, 4, 8, 16))
    s = Script("attention")
    out = s.op("decode_attention", q, k, k, tokens=(symbol("context"),), scale=0.25)
    s.op("copy", out, out=Buffer("gpu", "hbm", "attended", "fp16", (2, 4, 16)))
    plan = s.plan()
    check_plan(plan, CLUSTER, {"context": 3})
    assert plan.parameters == {"context"}


def test_parts_of_an_empty_value_are_written_side_by_side() -> None:
    s = Script("parts")
    whole = s.empty(GPU, "fp16", (4, 64))
    for start in (0, 2):
        s.op("copy", X.rows(start, start + 2), out=whole.rows(start, start + 2))
    s.op("linear", whole, W, out=OUT)
    plan = s.plan()
    assert plan.after == ((), (), (0, 1))
    check_plan(plan, CLUSTER)


def test_open_extents_carry_on_and_take_the_room_of_their_bound() -> None:
    rows = symbol("rows")
    s = Script("open", bounds={"rows": 4})
    h = s.op("linear", View(X, 0, (rows, 64)), W)
    s.op("activation", h, kind="relu", out=View(OUT, 0, (rows, 32)))
    plan = s.plan()
    assert h.shape == (rows, 32)
    assert [buffer.nbytes for buffer in s.arenas.buffers] == [4 * 32 * 2]
    assert plan.parameters == {"rows"}
    check_plan(plan, CLUSTER, {"rows": 3})


def test_a_result_in_place_takes_the_bytes_of_an_input_that_ends() -> None:
    s = Script("in place")
    x = s.op("linear", X, W)
    y = s.op("activation", x, kind="relu", in_place=True)
    s.op("copy", y, out=OUT)
    s.plan()
    assert [buffer.nbytes for buffer in s.arenas.buffers] == [256]


def foreign(s: Script) -> None:
    s.op("add", X, Script("other").op("copy", X))


def elsewhere(s: Script) -> None:
    s.op("linear", s.move(s.op("copy", X), CPU), W, on=GPU)


def refused(s: Script) -> None:
    s.op("linear", OUT, W)


def unused(s: Script) -> None:
    s.op("copy", X)


def without_size(s: Script) -> None:
    s.op("kv_write", X, position=0, tokens=1)


def misshapen(s: Script) -> None:
    s.op("copy", X).reshape(3, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (foreign, "before this script made it"),
        (elsewhere, "lies in cpu.dram; move it first"),
        (refused, "expected"),
        (unused, "never used"),
        (without_size, "give a buffer as out="),
        (misshapen, "keep the number of elements"),
    ],
)
def test_an_error_names_the_line_of_the_author(wrong, message) -> None:  # type: ignore[no-untyped-def]
    s = Script("wrong")
    with pytest.raises(BadPlan, match=message) as caught:
        wrong(s)
        s.plan()
    assert str(caught.value).startswith(f"{__file__}:{wrong.__code__.co_firstlineno + 1}: ")


@pytest.mark.parametrize("strategy", ["gpu_only", "instinfer"])
@pytest.mark.parametrize("model", ["tiny-opt", "gemma-3-270m"])
def test_the_table_knows_the_results_of_the_ops_that_strategies_emit(strategy: str, model: str) -> None:
    checked = 0

    def watch(run: VirtualRun) -> Any:
        submit = run.submit

        def note(plan: Plan, **bindings: int) -> Any:
            nonlocal checked
            for op in plan.ops:
                if isinstance(op, Kernel) and op.op in RESULTS:
                    bound = bind_kernel(op, bindings)
                    made = result_types(op.op, bound.inputs, bound.attributes)
                    assert [each.shape for each in made] == [each.shape for each in bound.outputs], op.op
                    checked += 1
            return submit(plan, **bindings)

        run.submit = note  # type: ignore[method-assign]
        return entry.program()(run, scenario)

    request = RunSpec(strategy, model, batch=2, prompt_tokens=6, output_tokens=2)
    entry, topology, shape = prepare(request)
    scenario = virtual_scenario(request, entry, topology, shape)
    run_virtual(topology, [watch])
    assert checked > 20
