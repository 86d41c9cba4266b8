"""Every mistake of a strategy that only a run can find names the strategy's own line, and keeps its kind of error."""

import contextlib
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import controller.cli.main
import controller.strategies.table
from controller.errors import BadPlan, OutsideBuffer, UnknownDevice, UnwrittenRead
from controller.execute.virtual import run_virtual
from controller.plan.author import at, author
from controller.plan.ops import Buffer, View
from controller.plan.script import Place, Script
from controller.plan.size import symbol
from controller.topology.loader import load_topology
from node.errors import ShapeMismatch

CLUSTER = load_topology("a6000_ssd")
X = Buffer("gpu", "hbm", "x", "fp16", (4, 64))
OUT = Buffer("gpu", "hbm", "out", "fp16", (4, 64))
Y = Buffer("gpu", "hbm", "y", "fp16", (4, 64))
GPU, CPU = Place("gpu", "hbm"), Place("cpu", "dram")
N = symbol("n")

Wrong = Callable[[Any, Script], object]
"""What an author writes in one line, wrong."""

MISTAKES: list[tuple[type[Exception], str, Wrong]] = [
    (BadPlan, "before any op has filled it", lambda run, s: s.op("copy", s.empty(GPU, "fp16", (4, 64)), out=OUT)),
    (BadPlan, "belongs to another script", lambda run, s: s.op("copy", Script("other").op("copy", X), out=OUT)),
    (BadPlan, "runs on gpu, but .* cpu.dram; move it", lambda run, s: s.op("copy", s.move(X, CPU), out=OUT, on=GPU)),
    (BadPlan, "add: b has shape", lambda run, s: s.op("add", X, View(X, 0, (4, 32)), out=OUT)),
    (BadPlan, "never used", lambda run, s: s.op("copy", X)),
    (UnknownDevice, "no device 'gpu7'; it has cpu, gpu", lambda run, s: s.drop(s.move(X, Place("gpu7", "hbm")))),
    (UnknownDevice, "cpu has no tier 'hbm'; it has dram", lambda run, s: s.drop(s.move(X, Place("cpu", "hbm")))),
    (UnknownDevice, "gpu has no queue 'dma9'", lambda run, s: s.move(X, OUT, queue="dma9")),
    (UnknownDevice, "the topology has cpu.dram", lambda run, s: run.place(Buffer("gpu", "hbn", "y", "fp16", (4,)))),
    (OutsideBuffer, "not whole elements", lambda run, s: s.op("copy", View(X, 0, (8, 64)), out=View(OUT, 0, (8, 64)))),
    (UnwrittenRead, "gpu.hbm/y, which is not placed", lambda run, s: s.move(Y, OUT)),
    (ShapeMismatch, "add: b has shape", lambda run, s: s.op("add", View(X, 0, (N, 64)), X, out=View(OUT, 0, (N, 64)))),
]


@pytest.mark.parametrize(("kind", "message", "wrong"), MISTAKES)
def test_a_mistake_names_the_line_of_the_author(kind: type[Exception], message: str, wrong: Wrong) -> None:
    def program(run):
        for buffer in (X, OUT):
            run.place(buffer, written=True)
        s = Script("step", bounds={"n": 4})
        wrong(run, s)
        plan = s.plan()
        for arena in s.arenas.buffers:
            if arena.device in CLUSTER.devices and arena.tier in CLUSTER.devices[arena.device].spec.tiers:
                run.place(arena)
        yield run.submit(plan, **({"n": 3} if "n" in plan.parameters else {}))

    with pytest.raises(kind, match=message) as caught:
        run_virtual(CLUSTER, [program])
    assert str(caught.value).startswith(f"{__file__}:{wrong.__code__.co_firstlineno}: ")
    assert str(caught.value).count(__file__) == 1


def test_what_did_not_fit_names_the_line_that_placed_it() -> None:
    def program(run):
        run.place(Buffer("gpu", "hbm", "kv", "fp16", (1 << 40,)))
        yield run.delay(1.0)

    outcome = run_virtual(CLUSTER, [program])
    line = program.__code__.co_firstlineno + 1
    assert outcome.reports()["overflow"] == {"what": "kv", "need_bytes": 2 << 40, "line": f"{__file__}:{line}"}


def test_an_error_begins_with_one_line() -> None:
    assert at(("a.py", 3), "wrong") == "a.py:3: wrong"
    assert at(("b.py", 4), at(("a.py", 3), "wrong")) == "a.py:3: wrong"
    assert at(None, "wrong") == "wrong"


@pytest.mark.parametrize(
    ("file", "house"),
    [
        (controller.cli.main.__file__, True),
        (controller.strategies.table.__file__, False),
        (click.core.__file__, True),
        (contextlib.__file__, True),
        (str(Path(sysconfig.get_path("scripts"), "windtunnel")), True),
        ("<frozen runpy>", True),
        (__file__, False),
        ("<ipython-input-1>", False),
    ],
)
def test_windtunnel_alone_is_no_author(file: str, house: bool) -> None:
    found: list[object] = []
    code = compile("def look(): found.append(author())\nlook()", file, "exec")
    exec(code, {"found": found, "author": author})
    assert (found[0] == (file, 1)) is not house
