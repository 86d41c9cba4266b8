"""Strategies out of a user's own file: a function becomes a program, and what it raises names its line."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zlib import crc32

from controller.errors import StrategyFailed, UnknownStrategy, WindtunnelError
from controller.models.scenario import Scenario
from controller.plan.check import accesses
from controller.plan.ops import Alloc, Buffer, Free, Plan
from controller.program.run import AnyProgram, Program, Run
from controller.strategies.entry import GENERATION, TRAINING, Strategy, StrategyFunction
from node.errors import NodeError


def strategy_of_file(path: Path, function: str) -> Strategy:
    """The strategy that a function of a user's file is.

    Raises:
        UnknownStrategy: no such file or function, or a file that cannot be imported; names the line.
    """
    if not path.is_file():
        raise UnknownStrategy(f"{path}: no such file; write path/to/file.py:function")
    # Two files may have one name in different folders.
    module = f"windtunnel_user_{path.stem}_{crc32(str(path.resolve()).encode()):08x}"
    spec = importlib.util.spec_from_file_location(module, path)
    if spec is None or spec.loader is None:
        raise UnknownStrategy(f"{path}: cannot be imported as Python")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded
    try:
        spec.loader.exec_module(loaded)
    except Exception as error:
        raise UnknownStrategy(f"{path}{_line(error, path)}: {type(error).__name__}: {error}") from error
    if not callable(getattr(loaded, function, None)):
        names = [key for key, value in vars(loaded).items() if inspect.isfunction(value)]
        close = get_close_matches(function, names, 1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(names) or 'no function'}"
        raise UnknownStrategy(f"{path} has no function {function!r}{hint}")
    user = getattr(loaded, function)
    setattr(loaded, f"_windtunnel_{function}", user_program(user))
    topology = str(getattr(user, "topology", "a6000_csd"))
    task = str(getattr(user, "task", GENERATION))
    if task not in (GENERATION, TRAINING):
        raise UnknownStrategy(f"{path}:{function}.task is {task!r}; it may be {GENERATION!r} or {TRAINING!r}")
    return Strategy(f"{path}:{function}", _summary(user), f"{module}:_windtunnel_{function}", topology, None, task)


@contextmanager
def blaming(strategy: Strategy) -> Iterator[None]:
    """Turns an exception out of a user's own file into one that names its line; others pass.

    Raises:
        StrategyFailed: the file raised what is no error of windtunnel.
    """
    try:
        yield
    except (WindtunnelError, NodeError):
        raise
    except (Exception, SystemExit) as error:
        path = strategy.name.rpartition(":")[0]
        line = _line(error, Path(path))
        if strategy.declared is not None or not line:
            raise
        raise StrategyFailed(
            f"{path}{line}: {type(error).__name__}: {error} (a fetch gives None on the virtual clock)"
        ) from error


def _line(error: BaseException, path: Path) -> str:
    """``:12`` for the last line of a user's file on the way to an error; "" when it does not lie there."""
    if isinstance(error, SyntaxError):
        return f":{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    return f":{lines[-1]}" if lines else ""


def _summary(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "a strategy of your own").splitlines()[0]


def user_program(function: Callable[..., Any]) -> StrategyFunction:
    """A user's function as a program: a generator of (run, scenario), or a function of (scenario) that gives a plan.

    Raises:
        UnknownStrategy: it takes neither one nor two arguments.
    """
    try:
        required = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
    except ValueError:  # built in, without a signature
        required = []
    if len(required) == 2:
        return _generating(function)
    if len(required) != 1:
        raise UnknownStrategy(
            f"{function.__name__} takes {len(required)} arguments; write a function of (scenario) that returns a Plan, "
            f"or one of (run, scenario) that submits plans"
        )

    def program(run: Run, scenario: Scenario) -> Program:
        plan = function(scenario)
        if not isinstance(plan, Plan):
            raise UnknownStrategy(
                f"{function.__name__} returned {type(plan).__name__}; return a Plan, or make it a generator "
                f"of (run, scenario) that submits plans"
            )
        for buffer in outside_buffers(plan):
            run.place(buffer, written=True)
        yield run.submit(plan)
        run.mark("plan")

    return program


def _generating(function: Callable[..., Any]) -> StrategyFunction:
    def program(run: Run, scenario: Scenario) -> AnyProgram:
        made = function(run, scenario)
        if not isinstance(made, Generator):
            raise UnknownStrategy(
                f"{function.__name__} returned {type(made).__name__}; a function of (run, scenario) yields what "
                f"run.submit returns, or returns such a generator"
            )
        return made

    return program


def outside_buffers(plan: Plan) -> tuple[Buffer, ...]:
    """The buffers that a plan uses and does not allocate itself, in order of first use."""
    own = {op.buffer: None for op in plan.ops if isinstance(op, Alloc)}
    found: dict[Buffer, None] = {}
    for op in plan.ops:
        if isinstance(op, Alloc | Free):
            continue
        reads, writes = accesses(op)
        for view in (*reads, *writes):
            if view.buffer not in own:
                found[view.buffer] = None
    return tuple(found)
