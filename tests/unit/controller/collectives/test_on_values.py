"""Collectives inside of scripts: right on values of every shape, with the ops of the call that is measured."""

from collections import Counter

import numpy as np
import pytest

from controller.collectives.call import Call
from controller.collectives.errors import BadCall, UnknownAlgorithm
from controller.collectives.exchange import Software
from controller.collectives.measure.calls import measure, prepare
from controller.collectives.on_values import IN_PLACE, collective
from controller.collectives.table import COLLECTIVES
from controller.execute.local_memory import LocalMemory
from controller.execute.virtual import run_virtual
from controller.plan.check import check_plan
from controller.plan.ops import Buffer, Kernel, Plan, Transfer, View
from controller.plan.script import Place, Script
from controller.plan.size import Size, symbol

ENTRIES = [(collective, name) for collective, names in COLLECTIVES.items() for name in names]
NAMES = tuple(f"gpu{rank}" for rank in range(8))
HBM = [Place(name, "hbm") for name in NAMES]
ROWS = symbol("rows")


def expected(name: str, given: list[np.ndarray], root: int = 0) -> list[np.ndarray]:
    """What ranks get, flat, from what they give, (rows, columns) laid out column by column: (columns, rows)."""
    size = len(given)
    if name == "all_reduce":
        found = [sum(given)] * size
    elif name == "reduce_scatter":
        found = np.array_split(sum(given), size)
    elif name == "all_gather":
        found = [np.concatenate(given)] * size
    elif name == "broadcast":
        found = [given[root]] * size
    elif name == "barrier":
        found = [np.concatenate([given[rank - distance] for distance in range(size)]) for rank in range(size)]
    else:
        found = [np.concatenate([np.array_split(each, size)[rank] for each in given]) for rank in range(size)]
    return [each.reshape(-1) for each in found]


def bound(shape, numbers):
    """Extents with numbers for open ones."""
    return tuple(extent if isinstance(extent, int) else extent.scale * numbers["rows"] for extent in shape)


def run_on_values(group, name, algorithm, size, shape, rows=3, backwards=False, **options):
    """What every rank gets and what it should get, flat, where kernels make and use the values."""
    memory, s = LocalMemory(backwards=backwards), Script("test", bounds={"rows": 5})
    now, most = {"rows": rows}, {"rows": 5}
    given, values = [], []
    for rank in range(size):
        extents = bound(shape, now)
        source = Buffer(NAMES[rank], "hbm", "x", "int32", (int(np.prod(bound(shape, most))),))
        content = np.random.default_rng(rank).integers(-1000, 1000, source.shape, np.int32)
        memory.place(source, content)
        given.append(content[: int(np.prod(extents))].reshape(extents[-1], -1))
        takes = name != "broadcast" or rank == options.get("root", 0) or options.get("in_place")
        values.append(s.op("copy", source.view().reshape(*shape), on=HBM[rank]) if takes else HBM[rank])
    results = collective(s, name, values, algorithm=algorithm, group=group(size), **options)
    targets = [Buffer(NAMES[rank], "hbm", "y", "int32", (int(np.prod(bound(result.shape, most))),))
               for rank, result in enumerate(results)]  # fmt: skip
    for target, result in zip(targets, results, strict=True):
        memory.place(target)
        if target.nbytes:
            s.op("copy", result, out=target.view().reshape(*result.shape))
    plan = s.plan()
    for buffer in s.arenas.buffers:
        memory.place(buffer)
    memory.run(plan, now)
    gotten = [memory.read(target)[: int(np.prod(bound(result.shape, now)))]
              for target, result in zip(targets, results, strict=True)]  # fmt: skip
    return gotten, expected(name, given, options.get("root", 0)), s


def same(found) -> bool:
    gotten, right, _ = found
    return [each.tolist() for each in gotten] == [each.tolist() for each in right]


@pytest.mark.parametrize(("name", "algorithm"), ENTRIES)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_values_are_right_in_either_order_that_the_edges_allow(group, name, algorithm, size):
    uneven = () if name == "all_gather" else (2 * size + 1, 1)
    for elements in (1,) if name == "barrier" else (2, *uneven):
        for backwards in (False, True):
            for pieces in (1, 2):
                assert same(
                    run_on_values(
                        group, name, algorithm, size, (elements,), backwards=backwards, pieces=pieces, root=size - 1
                    )
                )


@pytest.mark.parametrize(("name", "algorithm"), [entry for entry in ENTRIES if entry[0] != "barrier"])
@pytest.mark.parametrize("shape", [(3, 12), (2, 3, 8), (ROWS, 8), (ROWS, 2, 8), (2, 2 * ROWS, 8)])
def test_several_axes_of_which_one_may_be_open(group, name, algorithm, shape):
    for rows in (1, 3, 5):
        for backwards in (False, True):
            assert same(run_on_values(group, name, algorithm, 4, shape, rows, backwards, pieces=2))


@pytest.mark.parametrize("name", IN_PLACE)
@pytest.mark.parametrize("shape", [(13,), (ROWS, 8)])
def test_in_place_no_second_buffer_of_that_size_is_needed(group, name, shape):
    for algorithm in COLLECTIVES[name]:
        for backwards in (False, True):
            assert same(run_on_values(group, name, algorithm, 4, shape, backwards=backwards, in_place=True))


def test_a_closed_tensor_with_fewer_columns_than_ranks_is_cut_flat(group):
    gotten, right, s = run_on_values(group, "all_reduce", "ring", 4, (32, 1))
    assert same((gotten, right, s))
    sent = [op.sources[0].shape for op in s.plan().ops if isinstance(op, Transfer)]
    assert set(sent) == {(8,)}


def there(device: str, dtype: str, shape: tuple[Size, ...]) -> View:
    """A tensor of any shape, which may be open, on a device."""
    return View(Buffer(device, "hbm", f"large_{dtype}", dtype, (4096,)), 0, shape)


def test_gathered_values_are_stacked_and_scattered_ones_have_their_width() -> None:
    s = Script("shapes", bounds={"rows": 4})
    parts = [there(place.device, "fp16", (ROWS, 10)) for place in HBM[:4]]
    assert [each.shape for each in collective(s, "reduce_scatter", parts)] == [(ROWS, n) for n in (3, 3, 2, 2)]
    assert [each.shape for each in collective(s, "all_gather", parts)] == [(4, ROWS, 10)] * 4
    flat = [there(place.device, "fp16", (n,)) for place, n in zip(HBM, (3, 3, 2, 2), strict=False)]
    assert [each.shape for each in collective(s, "all_gather", flat)] == [(10,)] * 4


def ops_of(plan: Plan) -> Counter[object]:
    """Ops without where their operands lie."""
    found: Counter[object] = Counter()
    for op in plan.ops:
        kernel = isinstance(op, Kernel)
        sides = (op.inputs, op.outputs) if kernel else (op.sources, op.destinations)
        places = tuple(tuple((view.buffer.device, view.shape) for view in side) for side in sides)
        found[(kernel, op.label, places, "" if kernel else op.connection)] += 1
    return found


@pytest.mark.parametrize(("name", "algorithm"), ENTRIES)
def test_ops_and_time_are_those_of_the_call_that_is_measured(group, box, name, algorithm):
    """On buffers of the caller's, so that nothing but the collective is in the plan."""
    call = Call(name, group(4), 1 if name == "barrier" else 4000, pieces=2)
    entry = prepare(call, algorithm)
    assert measure(box(4), entry).ok
    s = Script("within")
    inputs, outputs = [[side(rank).buffer for rank in range(4)] for side in (call.input, call.output)]
    results = collective(s, name, inputs, algorithm=algorithm, out=outputs, group=call.group, pieces=2)
    assert results == outputs
    plan = s.plan()
    check_plan(plan, box(4))
    assert ops_of(plan) == ops_of(entry.plan)

    def go(run):
        for buffer in (*inputs, *outputs, *s.arenas.buffers):
            run.place(buffer, written=buffer in inputs)
        yield run.submit(plan)

    assert run_virtual(box(4), [go]).time_s == entry.time_s


def test_messages_name_their_connection_and_copies_do_not(group) -> None:
    call = Call("all_reduce", group(4), 64, pieces=2)
    for algorithm, channels in (("ring", 1), ("bidirectional_ring", 2), ("double_binary_tree", 2), ("star", 1)):
        plan = prepare(call, algorithm).plan
        names = {op.connection for op in plan.ops if isinstance(op, Transfer)}
        assert names == {f"collective.{number}" for number in range(channels)}
    s = Script("two groups")
    parts = [Buffer(name, "hbm", "x", "fp32", (64,)) for name in NAMES[:4]]
    collective(s, "all_gather", parts, communicator="tensor parallel")
    found = {
        (op.sources[0].buffer.device == op.destinations[0].buffer.device, op.connection)
        for op in s.plan().ops
        if isinstance(op, Transfer)
    }
    assert found == {(True, ""), (False, "tensor parallel.0")}


def test_a_library_starts_on_every_rank_before_its_first_message_and_sends_at_its_rate() -> None:
    s = Script("library")
    parts = [Buffer(name, "hbm", "x", "fp32", (64,)) for name in NAMES[:3]]
    library = Software("ll", 5e-6, 1e9)
    collective(s, "all_reduce", parts, algorithm="ring", in_place=True, software=library, label="sum")
    plan = s.plan()
    starts = [index for index, op in enumerate(plan.ops) if isinstance(op, Kernel) and op.op == "delay"]
    assert [(plan.ops[index].device, plan.ops[index].label) for index in starts] == [
        (name, "sum start") for name in NAMES[:3]
    ]
    for op, after in zip(plan.ops, plan.after, strict=True):
        if isinstance(op, Transfer):
            assert op.rate_limit_bytes_per_s == 1e9
            assert NAMES.index(op.sources[0].buffer.device) in after
        assert op.label.startswith("sum")


def refused(match: str, name: str, *shapes, error=BadCall, dtypes=("fp16",), devices=NAMES, **options):
    s = Script("refused", bounds={"rows": 4})
    values = [
        there(device, dtypes[rank % len(dtypes)], shape)
        for rank, (device, shape) in enumerate(zip(devices, shapes, strict=False))
    ]
    with pytest.raises(error, match=match) as raised:
        collective(s, name, values, **options)
    return str(raised.value)


def test_what_cannot_be_names_the_line_of_the_caller_and_the_fix(group) -> None:
    two = ((8,), (8,))
    assert __file__ in refused(r"\(8,\) at rank 0 and fp16 \(9, 1\) at rank 1; give", "all_reduce", (8,), (9, 1))
    refused(r"fp16 .* at rank 0 and fp32 .* at rank 1", "all_reduce", *two, dtypes=("fp16", "fp32"))
    refused(r"\[8, 9\] columns, by rank; it takes \[8, 8\]", "all_reduce", (8,), (9,))
    refused(r"\[2, 3\] columns, by rank; it takes \[3, 2\]", "all_gather", (2,), (3,))
    refused("last axis is open; reshape", "all_reduce", (8, ROWS), (8, ROWS))
    refused("no elements", "all_reduce", (0,), (0,))
    refused("cannot add elements of type 'fp8'", "all_reduce", *two, dtypes=("fp8",))
    refused("root 2 is not a rank", "broadcast", *two, root=2)
    refused("both give a value on gpu0; give one value a device", "all_reduce", *two, devices=("gpu0", "gpu0"))
    refused("group of gpu0, gpu1, gpu2; give one value on each", "all_reduce", *two, group=group(3))
    refused("reduce_scatter in place", "reduce_scatter", *two, in_place=True)
    refused("barrier of .8, 8. columns", "barrier", *two)
    refused("use ring", "all_reduce", *two, algorithm="nvls")
    refused("no algorithm 'wheel'", "all_reduce", *two, algorithm="wheel", error=UnknownAlgorithm)
    here = [Buffer("gpu0", "hbm", f"out{rank}", "fp16", (8,)) for rank in range(2)]
    refused("rank 1 of all_reduce is gpu1, and its result in out= lies in gpu0.hbm", "all_reduce", *two, out=here)
    refused("with 1 results", "all_reduce", *two, out=here[:1])
    small = [Buffer(name, "hbm", "out", "fp16", (7,)) for name in NAMES[:2]]
    refused(r"gives rank 0 fp16 \(8,\), and its result in out= is fp16 \(7,\)", "all_reduce", *two, out=small)


def test_a_place_stands_for_a_rank_that_gives_nothing_to_a_broadcast() -> None:
    s = Script("places")
    x = Buffer("gpu0", "hbm", "x", "fp32", (8,))
    assert [each.place for each in collective(s, "broadcast", [x, *HBM[1:3]])] == HBM[:3]
    with pytest.raises(BadCall, match=r"rank 1 of all_reduce gives a place \(gpu1.hbm\) and no value"):
        collective(s, "all_reduce", [x, HBM[1]])
