"""`run`, `collective` and `compare`, with the words and defaults of the command line.

`collective` lacks ``--explain``, which is lines for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from node.protocol import NODE_TIMEOUT_S

from .results import FinishedCollective, FinishedComparison, FinishedRun

if TYPE_CHECKING:
    from controller.topology.fault import Fault

Overrides = Mapping[str, object] | Sequence[str] | str
"""``{"csd.count": 4, "csd.flash.read": "11.2 GB/s"}``, or texts as of ``--set``."""


def run(
    strategy: str,
    *,
    model: str = "opt-13b",
    topology: str | Path | None = None,
    batch: int = 1,
    prompt_tokens: int | None = None,
    output_tokens: int = 32,
    prompt: str | None = None,
    seq: int | None = None,
    steps: int = 1,
    seed: int = 0,
    live: bool = False,
    local: bool = False,
    pace: float | None = None,
    ray: str | None = None,
    node_timeout_s: float = NODE_TIMEOUT_S,
    dtype: str | None = None,
    quantization: str | None = None,
    kv_dtype: str | None = None,
    effective_context: float | None = None,
    explain: bool = False,
    routing: str | None = None,
    faults: str | Path | Sequence[str] = (),
    overrides: Overrides = (),
    catalog: str | Path | Sequence[str | Path] = (),
    trace: str | Path | None = None,
    report: str | Path | None = None,
    **options: object,
) -> FinishedRun:
    """Runs a strategy, as ``windtunnel run`` does.

    Args:
        strategy: a name of the table, or ``path/to/file.py:function``.
        model: a name, or a Hugging Face config.json.
        topology: a name or a YAML file; None for the strategy's own.
        batch: sequences processed together.
        prompt_tokens: length of each prompt; None for 32.
        output_tokens: tokens generated for each prompt.
        prompt: a text to continue, in place of `prompt_tokens`; for runs with values.
        seq: tokens of each training sequence; None for 1024.
        steps: optimizer steps of training.
        seed: of everything that is drawn.
        live: on node processes with real tensors.
        local: with real tensors in this process, without nodes.
        pace: hold nodes to device speed, this many times slower; with `live`.
        ray: address of a Ray cluster that carries the node processes; with `live`.
        node_timeout_s: how long a node may be silent [s of wall time]; with `live`.
        dtype: element type of a virtual run, in place of the model's.
        quantization, kv_dtype: format of the weights and type of the KV cache, in place of the model's.
        effective_context: mean context that decode attention reads [tokens].
        explain: find the critical path.
        routing: over equal paths: single, ecmp, spray or ethereal.
        faults: texts as of ``--fail`` and ``--degrade``, or the path of a YAML file.
        overrides: declared values to change.
        catalog: folders with device sheets of your own.
        trace: file for a timeline.
        report: HTML file for a report.
        options: of the strategy.

    Raises:
        UserError: wrong input; nothing was started.
        RunError: the run itself ended badly.
    """
    from controller.experiment.run import run_experiment
    from controller.experiment.run_spec import RunSpec

    request = RunSpec(
        strategy, model, None if topology is None else str(topology), _texts(overrides, routing), _paths(catalog),
        batch, prompt_tokens, output_tokens, prompt, live, pace, node_timeout_s, seed, _options(options),
        effective_context, _path(trace), seq, steps, explain, _path(report), ray, local, _faults(faults), dtype,
        quantization, kv_dtype,
    )  # fmt: skip
    experiment = run_experiment(request)
    if request.trace is not None and experiment.trace is not None:
        from controller.report.chrome_trace import write_chrome_trace

        critical = () if experiment.explanation is None else experiment.explanation.segments
        write_chrome_trace(experiment.trace, request.trace, tuple(experiment.topology.devices), critical)
    if request.report is not None:
        from controller.report.html import write_run_report

        write_run_report(experiment, request.report)
    return FinishedRun(experiment)


def collective(
    name: str,
    *,
    topology: str | Path = "dgx_h100",
    ranks: int | None = None,
    devices: str | Sequence[str] | None = None,
    algorithm: str = "auto",
    protocol: str = "auto",
    pieces: int | None = None,
    min_bytes: int | str = 8,
    max_bytes: int | str = "128M",
    factor: int = 2,
    step_bytes: int | str | None = None,
    dtype: str = "fp32",
    root: int = 0,
    live: bool = False,
    pace: float | None = None,
    node_timeout_s: float = NODE_TIMEOUT_S,
    seed: int = 0,
    bulk: bool | None = None,
    routing: str | None = None,
    faults: str | Path | Sequence[str] = (),
    overrides: Overrides = (),
    catalog: str | Path | Sequence[str | Path] = (),
) -> FinishedCollective:
    """Times a collective for every size, as ``windtunnel collective`` does.

    Args:
        name: of the collective: all_reduce, all_gather, ...
        topology: a name or a YAML file.
        ranks: how many devices take part, the first ones; None for all.
        devices: the ranks by name, in order, in place of `ranks`.
        algorithm: names or MSCCL files, joined by commas; ``auto`` for all, ``nccl`` for the choice of NCCL.
        protocol: one that the topology declares, ``plain``, or ``auto``.
        pieces: independent parts of each chunk; None for the fastest.
        min_bytes, max_bytes: smallest and largest size, as a number [bytes] or a text (``"64M"`` is 64 MiB).
        factor: from size to size.
        step_bytes: from size to size, in place of the factor; as `min_bytes`.
        dtype: element type.
        root: rank of the root.
        live: move real data through node processes and count wrong elements.
        pace, node_timeout_s: as of `run`.
        seed: of the data.
        bulk: time arrays instead of plans; None for the default.
        routing, faults, overrides, catalog: as of `run`.

    Raises:
        UserError: wrong input; nothing was started.
        RunError: the run itself ended badly.
    """
    from controller.collectives.measure.sizes import parse_size
    from controller.experiment.collective_run import prepare_collective, run_collective
    from controller.experiment.collective_spec import CollectiveSpec

    smallest, largest = parse_size(str(min_bytes)), parse_size(str(max_bytes))
    spec = CollectiveSpec(
        name, str(topology), ranks, _names(devices), algorithm, protocol, pieces, smallest, largest, factor,
        None if step_bytes is None else parse_size(str(step_bytes)), dtype, root, False, live, pace, node_timeout_s,
        seed, bulk, _texts(overrides, routing), _paths(catalog), _faults(faults),
    )  # fmt: skip
    return FinishedCollective(run_collective(prepare_collective(spec)))


def compare(
    *candidates: str,
    model: str = "opt-13b",
    batch: int = 1,
    prompt_tokens: int | None = None,
    output_tokens: int = 32,
    seq: int | None = None,
    steps: int = 1,
    sweep: Mapping[str, Iterable[object]] | None = None,
    seed: int = 0,
    dtype: str | None = None,
    quantization: str | None = None,
    kv_dtype: str | None = None,
    overrides: Overrides = (),
    catalog: str | Path | Sequence[str | Path] = (),
    out: str | Path | None = None,
    processes: int = 1,
    ray: str | None = None,
    **options: object,
) -> FinishedComparison:
    """Compares schemes on the virtual clock, as ``windtunnel compare`` does.

    Args:
        candidates: ``[NAME=]STRATEGY[@TOPOLOGY]``; none for the shipped schemes.
        model, batch, prompt_tokens, output_tokens, seq, steps, seed, overrides, catalog: as of `run`.
        dtype, quantization, kv_dtype: as of `run`.
        sweep: values by key, each of which every candidate is run at: ``{"batch": [16, 64], "csd.count": [1, 2]}``.
        out: folder that keeps finished rows; the same call goes on where it stopped.
        processes: runs at once.
        ray: address of a Ray cluster to run on.
        options: of the strategies.

    Raises:
        UserError: wrong input; a scheme that cannot run is a row that says so.
    """
    from controller.compare.candidates import GENERATION, parse_candidate
    from controller.compare.grid import run_grid
    from controller.compare.question import parse_axis, points
    from controller.experiment.run_spec import RunSpec

    base = RunSpec(
        "gpu_only", model, None, _texts(overrides, None), _paths(catalog), batch, prompt_tokens, output_tokens,
        seed=seed, options=_options(options), seq=seq, steps=steps, dtype=dtype, quantization=quantization,
        kv_dtype=kv_dtype,
    )  # fmt: skip
    axes = tuple(parse_axis(f"{key}={','.join(map(str, values))}") for key, values in (sweep or {}).items())
    asked = points(base, tuple(map(parse_candidate, candidates)) or GENERATION, axes)
    return FinishedComparison(run_grid(asked, folder=_path(out), processes=processes, ray=ray))


def _texts(overrides: Overrides, routing: str | None) -> tuple[str, ...]:
    if isinstance(overrides, str):
        overrides = (overrides,)
    pairs = [f"{key}={value}" for key, value in overrides.items()] if isinstance(overrides, Mapping) else overrides
    return (*pairs, *(() if routing is None else (f"options.routing={routing}",)))


def _names(devices: str | Sequence[str] | None) -> tuple[str, ...] | None:
    return None if devices is None else tuple(devices.split(",")) if isinstance(devices, str) else tuple(devices)


def _options(options: Mapping[str, object]) -> dict[str, str]:
    """Options as texts, a truth value as the command line writes it."""
    words = {True: "on", False: "off"}
    return {key: words[value] if isinstance(value, bool) else str(value) for key, value in options.items()}


def _faults(faults: str | Path | Sequence[str]) -> tuple[Fault, ...]:
    from controller.faults.file import read_faults
    from controller.faults.schedule import parse_fault

    if isinstance(faults, str | Path):
        return read_faults(Path(faults))
    return tuple(map(parse_fault, faults))


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _paths(paths: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    return (Path(paths),) if isinstance(paths, str | Path) else tuple(map(Path, paths))
