"""The table of strategies, and how a name or a file of one's own becomes a program."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zlib import crc32

from controller.errors import StrategyFailed, UnknownStrategy, WindtunnelError
from controller.models.scenario import Scenario
from controller.plan.check import accesses
from controller.plan.ops import Alloc, Buffer, Free, Plan
from controller.program.options import Options
from controller.program.run import AnyProgram, Program, Run
from node.errors import NodeError

StrategyFunction = Callable[[Run, Any], AnyProgram]
"""Takes the scenario of its task: `Scenario` (generation) or `TrainingScenario` (training)."""

GENERATION, TRAINING = "generation", "training"


@dataclass(frozen=True, slots=True)
class Strategy:
    """One entry.

    Attributes:
        name: what the command line calls it.
        summary: one line for people.
        target: ``module:function``; the function is a `StrategyFunction`.
        topology: what it runs on unless told otherwise.
        declared: ``module:class`` of its own `Options`, whose ``page_size`` is ``--page-size VALUE`` on the command
            line; "" where it has none; None where it takes anything that ``--option name=value`` says, as text.
        task: what it does, and so which workload it takes: ``generation`` (batch, prompt and output tokens) or
            ``training`` (batch, seq, steps).
        reference: ``module:function`` of (weights, prompt_tokens, options) that gives the plain decoder to compare a
            live run with, or None for the model as it is; "" where it is always that. A name, since it needs torch.
        has_values: False where it only says how long it takes, and refuses an executor with values.
    """

    name: str
    summary: str
    target: str
    topology: str
    declared: str | None = ""
    task: str = GENERATION
    reference: str = ""
    has_values: bool = True

    @property
    def options(self) -> dict[str, str] | None:
        """Name to explanation of the strategy's own options; None where it takes anything."""
        return None if self.declared is None else self._options_class(self.declared).explained()

    def read_options(self, given: Mapping[str, str]) -> Mapping[str, str]:
        """Values of the options that were given; of a user's own file the texts.

        Raises:
            BadWorkload: an unknown option, or a text that is no value of its option.
        """
        return given if self.declared is None else self._options_class(self.declared).read(given, self.name)

    def _options_class(self, declared: str) -> type[Options]:
        module, _, name = declared.partition(":")
        found: type[Options] = getattr(importlib.import_module(module), name) if declared else Options
        return found

    def program(self) -> StrategyFunction:
        """The function behind the entry, imported now."""
        module, _, function = self.target.partition(":")
        loaded: StrategyFunction = getattr(importlib.import_module(module), function)
        return loaded


STRATEGIES: dict[str, Strategy] = {
    entry.name: entry
    for entry in (
        Strategy(
            "instinfer",
            "KV cache and decode attention in computational storage drives, the rest on the GPU",
            "controller.strategies.instinfer:instinfer",
            "a6000_csd",
            "controller.strategies.instinfer:InstInferOptions",
            reference="controller.models.plain_sparf:reference",
        ),
        Strategy(
            "flexgen",
            "KV cache on an SSD, brought to the GPU through host memory layer by layer",
            "controller.strategies.flexgen:flexgen",
            "a6000_ssd",
        ),
        Strategy(
            "flexgen_sparq",
            "as flexgen, and only the channels and tokens that SparQ attention chooses are fetched (virtual)",
            "controller.strategies.flexgen_sparq:flexgen_sparq",
            "a6000_ssd",
            "controller.strategies.flexgen_sparq:FlexGenSparqOptions",
            has_values=False,
        ),
        Strategy(
            "deepspeed",
            "KV cache in host memory, brought to the GPU by pageable copies layer by layer",
            "controller.strategies.deepspeed:deepspeed",
            "a6000_ssd",
        ),
        Strategy(
            "dram_kv",
            "KV cache in pinned host memory, the next layer fetched while one computes",
            "controller.strategies.dram_kv:dram_kv",
            "a6000_ssd",
        ),
        Strategy(
            "cxl_kv",
            "KV cache on CXL memory cards, fetched by the GPU layer by layer",
            "controller.strategies.cxl_kv:cxl_kv",
            "offload_h100",
        ),
        Strategy(
            "gpu_only",
            "KV cache and everything else in GPU memory",
            "controller.strategies.gpu_only:gpu_only",
            "a6000_ssd",
        ),
        Strategy(
            "vllm_recompute",
            "paged KV cache in GPU memory, requests that it cannot hold preempted and recomputed (virtual)",
            "controller.strategies.vllm_recompute:vllm_recompute",
            "a6000_ssd",
            "controller.strategies.vllm_recompute:VllmRecomputeOptions",
            has_values=False,
        ),
        Strategy(
            "lamina",
            "KV cache and decode attention on memory devices behind a network, batches staggered in rotation",
            "controller.strategies.lamina:lamina",
            "lamina",
            "controller.strategies.lamina:LaminaOptions",
        ),
        Strategy(
            "vllm_tp",
            "tensor-parallel GPUs with attention on each over its own heads, the baseline of lamina",
            "controller.strategies.vllm_tp:vllm_tp",
            "lamina",
            "controller.strategies.vllm_tp:TensorParallelOptions",
        ),
        Strategy(
            "fuyou",
            "training with states, parameters and activations on SSDs, the optimizer beside the backward pass",
            "controller.strategies.fuyou:fuyou",
            "server_4090",
            "controller.strategies.fuyou:FuyouOptions",
            TRAINING,
        ),
        Strategy(
            "zero_infinity",
            "training with states on SSDs, copies in turn with kernels, the optimizer as a stage of its own",
            "controller.strategies.zero_infinity:zero_infinity",
            "server_4090",
            task=TRAINING,
        ),
        Strategy(
            "zero_offload",
            "training with states in host memory and block inputs on the GPU, the optimizer as a stage of its own",
            "controller.strategies.zero_offload:zero_offload",
            "server_4090",
            task=TRAINING,
        ),
        Strategy(
            "colossalai",
            "as zero_offload, by pageable copies (Gemini)",
            "controller.strategies.colossalai:colossalai",
            "server_4090",
            task=TRAINING,
        ),
        Strategy(
            "flashneuron",
            "training with the model in GPU memory and activations on SSDs",
            "controller.strategies.flashneuron:flashneuron",
            "server_4090",
            task=TRAINING,
        ),
        Strategy(
            "cxl_finetune",
            "training with states, weights and checkpoints in DRAM and on CXL cards, Adam on the CPU",
            "controller.strategies.cxl_finetune:cxl_finetune",
            "cxl_finetune",
            "controller.strategies.cxl_finetune:CxlFinetuneOptions",
            TRAINING,
        ),
        Strategy(
            "train_gpu_only",
            "training with model, states and activations in the memory of one GPU",
            "controller.strategies.train_gpu_only:train_gpu_only",
            "a6000_ssd",
            "controller.strategies.train_gpu_only:TrainGpuOnlyOptions",
            TRAINING,
        ),
    )
}


def lookup(name: str) -> Strategy:
    """The strategy called `name`, or the function behind ``path/to/file.py:function``.

    Raises:
        UnknownStrategy: neither; names the nearest one, or what is wrong with the file.
    """
    if name in STRATEGIES:
        return STRATEGIES[name]
    path, colon, function = name.rpartition(":")
    if colon and path.endswith(".py"):
        return _from_file(Path(path), function)
    close = get_close_matches(name, STRATEGIES, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(STRATEGIES)}"
    raise UnknownStrategy(f"no strategy {name!r}; {hint} (one of your own is path/to/file.py:function)")


def _from_file(path: Path, function: str) -> Strategy:
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
