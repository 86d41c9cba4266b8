"""Launches of Triton kernels: logged with what the program declares for them; nothing is compiled."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from typing import Any

from controller.capture.inside.answers import NoAnswer
from controller.capture.inside.log import Log
from controller.capture.inside.signatures import tensors_in, type_of
from controller.capture.kernel_work import advice, declared_work


def install_triton(log: Log, launched: Any) -> None:
    """Replaces how kernels are launched, where Triton is installed.

    Args:
        log: of the rank.
        launched: is told the number of the signature of each launch.
    """
    if importlib.util.find_spec("triton") is None:
        return
    jit, autotuner = (importlib.import_module(f"triton.runtime.{name}") for name in ("jit", "autotuner"))

    def run(self: Any, *args: Any, **given: Any) -> None:
        name = getattr(self, "__name__", None) or self.fn.__name__
        function = self
        while not inspect.isfunction(function):
            function = function.fn
        names = set(inspect.signature(function).parameters)
        own = {key: value for key, value in given.items() if key in names}
        work = declared_work(name, args, own)
        if work is None:
            raise NoAnswer(f"{log.line()}: nothing says how long the Triton kernel {name} takes; {advice(name)}")
        tensors = tensors_in(args) + tensors_in(tuple(own.values()))
        key = (f"triton.{name}", tuple(map(type_of, tensors)), (), declared_values(work))
        launched(log.signature(key))

    jit.JITFunction.run = run
    for kind in (autotuner.Autotuner, autotuner.Heuristics):
        kind.run = run


def declared_values(work: Any) -> tuple[Any, ...]:
    """A declaration as arguments of a signature."""
    return (
        ("declared", (float(work.flop), int(work.reads), int(work.writes), float(work.peak_ratio))),
        ("declared_dtype", work.dtype),
        ("declared_unit", work.unit),
    )
