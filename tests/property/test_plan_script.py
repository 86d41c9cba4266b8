"""Random scripts: no op overwrites a value that is still needed, and edges order every two accesses that conflict."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from controller.plan.check import accesses, check_plan
from controller.plan.hazards import byte_range
from controller.plan.ops import Buffer, View
from controller.plan.script import Place, Script, Value
from controller.topology.loader import load_topology

CLUSTER = load_topology("a6000_ssd")
PLACES = (Place("gpu", "hbm"), Place("cpu", "dram"))
SOURCE = Buffer("gpu", "hbm", "source", "fp16", (4096,))
SINK = Buffer("gpu", "hbm", "sink", "fp16", (4096,))

Step = tuple[str, int, int, int, bool]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["new", "copy", "add", "move", "parts", "sink"]), st.integers(0, 30),
            st.sampled_from([100, 128, 700, 2000]), st.integers(0, 1), st.booleans(),
        ),
        min_size=1, max_size=40,
    )
)  # fmt: skip
def test_values_stay_until_their_last_reader_and_every_conflict_has_an_order(steps: list[Step]) -> None:
    s = Script("random")
    values: list[Value] = []
    reads: list[list[Value]] = []

    def note(*read: Value) -> None:
        reads.append(list(read))

    def pick(number: int) -> Value:
        if not values:
            values.append(s.op("copy", View(SOURCE, 0, (128,)), on=PLACES[0]))
            note()
        return values[number % len(values)]

    for kind, number, size, microbatch, in_place in steps:
        s.microbatch = microbatch
        if kind == "new":
            values.append(s.op("copy", View(SOURCE, 0, (size,)), on=PLACES[0]))
            note()
            continue
        source = pick(number)
        if kind == "copy":
            values.append(s.op("copy", source, in_place=in_place))
        elif kind == "add":
            values.append(s.op("add", source, source, in_place=in_place))
        elif kind == "move":
            values.append(s.move(source, PLACES[source.place == PLACES[0]]))
        elif kind == "parts":
            (count,) = source.shape
            assert isinstance(count, int)
            whole = s.empty(source.place, "fp16", (count,))
            for start, stop in ((0, count // 2), (count // 2, count)):
                s.op("copy", source.rows(start, stop), out=whole.rows(start, stop))
                note(source)
            values.append(whole)
            continue
        else:
            near = source if source.place == PLACES[0] else s.move(source, PLACES[0])
            if near is not source:
                note(source)
                source = near
            s.op("copy", source, out=View(SINK, 0, source.shape))
        note(source)
    for value in values:  # nothing stays unused
        s.move(value, View(SINK, 0, value.shape))
        note(value)
    plan = s.plan()
    check_plan(replace(plan), CLUSTER)

    holds: dict[tuple[Buffer, int], tuple[int, int]] = {}
    made: dict[int, list[tuple[View, int]]] = {}
    for index, (op, expected) in enumerate(zip(plan.ops, reads, strict=True)):
        sources, targets = accesses(op)
        for value, view in zip(expected * len(sources), sources, strict=False):
            start, stop = byte_range(view)
            for at in range(start, stop, 2):
                assert holds[view.buffer, at][0] == value.number
        emitted = s._emitted[index]
        for value_or_view, view in zip(emitted.outputs, targets, strict=True):
            if isinstance(value_or_view, Value):
                start, stop = byte_range(view)
                made.setdefault(value_or_view.number, []).append((view, index))
                for at in range(start, stop, 2):
                    holds[view.buffer, at] = value_or_view.number, index
