"""Every misuse of a script: an error that names the line of the author, and the fix."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from controller.errors import BadPlan
from controller.plan.check import check_plan
from controller.plan.ops import Buffer, View
from controller.plan.script import Place, Script
from controller.plan.size import symbol
from controller.topology.loader import load_topology

GPU, CPU = Place("gpu", "hbm"), Place("cpu", "dram")
X = Buffer("gpu", "hbm", "x", "fp16", (4, 64))
HALF = Buffer("gpu", "hbm", "half", "fp16", (4, 32))
OUT = Buffer("gpu", "hbm", "out", "fp16", (4, 64))
CLUSTER = load_topology("a6000_ssd")
n = symbol("n")

Wrong = Callable[[Any], object]
"""What an author writes in one line, wrong; `Any`, since type checkers would refuse most of it."""

MISUSES: list[tuple[str, Wrong]] = [
    ("before any op has filled it", lambda s: s.op("copy", s.empty(GPU, "fp16", (4, 64)), out=OUT)),
    ("before any op has filled it", lambda s: s.move(s.empty(GPU, "fp16", (0,), spare=True), CPU)),
    ("no op fills the empty value", lambda s: s.empty(GPU, "fp16", (4, 64))),
    ("never used", lambda s: s.op("copy", X, out=s.empty(GPU, "fp16", (4, 64)))),
    ("unknown dtype 'fp99'", lambda s: s.empty(GPU, "fp99", (4,))),
    ("the shape 4; write a tuple", lambda s: s.empty(GPU, "fp16", 4)),
    (r"the shape \[4\]; write a tuple", lambda s: s.empty(GPU, "fp16", [4])),
    ("whole number of 0 or more", lambda s: s.empty(GPU, "fp16", (-4,))),
    ("whole number of 0 or more", lambda s: s.empty(GPU, "fp16", (4.0,))),
    (r"the place 'gpu.hbm'; give Place\(device, tier\)", lambda s: s.empty("gpu.hbm", "fp16", (4,))),
    ("has no bound", lambda s: s.empty(GPU, "fp16", (symbol("other"),))),
    ("no part of shape", lambda s: s.op("copy", X).part(200, (2, 64))),
    ("no part of shape", lambda s: s.op("copy", X).part(-64, (1, 64))),
    ("no part of shape", lambda s: s.op("copy", X).rows(0, 1).part(64, (1, 64))),
    ("give the first element", lambda s: s.op("copy", X).part(0, 64)),
    ("give the first element", lambda s: s.op("copy", X).part(0.5, (64,))),
    ("two", lambda s: s.op("copy", X).part(n, (2, 64)).part(n, (1, 64))),
    ("no rows 2 to 5", lambda s: s.op("copy", X).rows(2, 5)),
    (r"part\(start, shape\)", lambda s: s.op("copy", X).rows(0, n)),
    ("one by one", lambda s: s.op("copy", X).reshape([4, 64])),
    (r"\(n, 64\) cannot become \(n, 9\)", lambda s: s.op("copy", View(X, 0, (n, 64))).reshape(n, 9)),
    (r"\(n, 64\) cannot become \(2\*n, 64\)", lambda s: s.op("copy", View(X, 0, (n, 64))).reshape(n * 2, 64)),
    ("got out=5", lambda s: s.op("copy", X, out=5)),
    ("makes 1 results and out= names 2", lambda s: s.op("copy", X, out=[None, None])),
    ("another script", lambda s: s.op("copy", X, out=Script("o").empty(GPU, "fp16", (4, 64)))),
    ("move it first", lambda s: s.op("copy", X, out=s.empty(CPU, "fp16", (4, 64)))),
    ("expected", lambda s: s.op("copy", X, out=HALF)),
    ("got makes=7", lambda s: s.op("copy", X, makes=7)),
    ("got 7 for a result", lambda s: s.op("copy", X, makes=[7])),
    ("write a tuple", lambda s: s.op("copy", X, makes=[("fp16", [4, 64])])),
    ("the place 'gpu'", lambda s: s.op("copy", X, on="gpu")),
    ("the operation 5 is not a text", lambda s: s.op(5, X)),
    ("the queue 4 is not a text", lambda s: s.op("copy", X, queue=4)),
    ("the label 4 is not a text", lambda s: s.move(X, OUT, 4)),
    (r"attribute 'kind' is \['relu'\]", lambda s: s.op("activation", X, kind=["relu"])),
    ("goes to 'cpu'; give Place", lambda s: s.move(X, "cpu")),
    (r"512 bytes \(fp16 \(4, 64\)\) leave and 256", lambda s: s.move(X, HALF)),
    (r"sources \[\]", lambda s: s.transfer([], [CPU])),
    (r"destinations \[\]", lambda s: s.transfer([X], [])),
    ("or use move", lambda s: s.transfer(X, CPU)),
    ("none is there yet", lambda s: s.op("copy", X, after=[0])),
    ("names op -1", lambda s: s.op("copy", X, after=[-1])),
    ("names op <value fp16", lambda s: s.op("copy", X, after=[s.op("copy", X)])),
    ("after=0 is not a list", lambda s: s.op("copy", X, after=0)),
    ("keep got a value of another script", lambda s: s.keep([Script("o").op("copy", X)])),
    ("give a value that this script made", lambda s: s.keep([X])),
    ("give a list of values", lambda s: s.keep(s.op("copy", X))),
    ("drop got a value of another script", lambda s: s.drop(Script("o").op("copy", X))),
    ("give a value that this script made", lambda s: s.drop(X)),
    ("0 turns", lambda s: s.staging("kv", 0, 0).__enter__()),
    ("the name of staging 'a b'", lambda s: s.staging("a b", 0).__enter__()),
    ("the turn 'x'", lambda s: s.staging("kv", "x").__enter__()),
    (r"the micro-batch \[1\]", lambda s: setattr(s, "microbatch", [1])),
    ("the name of a script 'a:b'", lambda s: Script("a:b")),
    ("the name of a script None", lambda s: Script(None)),  # type: ignore[arg-type]
    ("the bound of 'n' is -3", lambda s: Script("b", bounds={"n": -3})),
    ("the bound of 'n' is 3.5", lambda s: Script("b", bounds={"n": 3.5})),  # type: ignore[dict-item]
    ("has been made; emit all ops before", lambda s: (s.plan(), s.op("copy", X, out=OUT))),
]


@pytest.mark.parametrize(("message", "wrong"), MISUSES)
def test_a_misuse_names_the_line_of_the_author_and_what_to_write(message: str, wrong: Wrong) -> None:
    s = Script("wrong", bounds={"n": 4})
    with pytest.raises(BadPlan, match=message) as caught:
        wrong(s)
        s.plan()
    assert str(caught.value).startswith(f"{__file__}:{wrong.__code__.co_firstlineno}: ")
    assert "0x" not in str(caught.value)


def test_a_part_that_no_op_has_filled_is_not_read() -> None:
    s = Script("half")
    whole = s.empty(GPU, "fp16", (4, 64))
    s.op("copy", X.rows(0, 2), out=whole.rows(0, 2))
    s.op("copy", whole, out=OUT, label="finish")
    with pytest.raises(BadPlan, match=r"filled all of the value made here when copy \(op 1, finish\)"):
        s.plan()


def test_a_value_made_empty_while_staging_may_be_filled_later() -> None:
    s = Script("staged")
    near = s.op("copy", X)
    with s.staging("kv", 0):
        ahead = s.empty(GPU, "fp16", (4, 64))
        s.op("copy", near, out=OUT)
    mine = s.op("copy", X)
    s.op("copy", X, out=ahead)
    for value in (mine, ahead):
        s.op("copy", value, out=OUT)
    check_plan(replace(s.plan()), CLUSTER)


def test_products_of_other_symbols_may_be_one_size() -> None:
    s = Script("product", bounds={"items": 256, "n": 4})
    s.op("copy", s.op("copy", View(X, 0, (symbol("items"),))).reshape(n, 64), out=View(OUT, 0, (n, 64)))
    check_plan(replace(s.plan()), CLUSTER, {"items": 256, "n": 4})
