"""Digests of what every strategy does, against a golden file: scripts/digests [--update] [--only TEXT...] [--quick].

With ``--reproduce FILE...`` our values of published rows instead, as ``windtunnel reproduce PAPER... --json`` printed
them; the rows of papers that no file has are left alone, so that the papers can be taken one at a time.

A case is a strategy, a model, a batch and changes of the topology. A rewrite keeps every digest, every instant to the
last bit and every key of the result; peak bytes may fall. Labels that a rewrite renames go into
``tests/golden/renamed_labels.json`` (label of today to the label of the golden file).
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.execute.virtual import VirtualRun, run_virtual
from controller.experiment.result import Experiment
from controller.experiment.run_spec import RunSpec
from controller.experiment.virtual import prepare, virtual_scenario
from controller.plan.ops import Plan

sys.path.insert(0, str(Path(__file__).parent))
from plan_digest import PlanDigest, digest_of_counts

GOLDEN = Path(__file__).parents[1] / "golden" / "digests.json"
REPRODUCED = GOLDEN.parent / "reproduced.json"
RENAMED = GOLDEN.parent / "renamed_labels.json"

Record = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A request, and whether it is one of the few that CI runs."""

    request: RunSpec
    quick: bool

    @property
    def name(self) -> str:
        """What the golden file calls it."""
        asked = self.request
        options = [f"{key}={value}" for key, value in asked.options.items()]
        return " ".join((asked.strategy, asked.model, f"batch={asked.batch}", *asked.overrides, *options))


class Recorder:
    """A run that notes what its program submits."""

    def __init__(self, run: VirtualRun, plans: PlanDigest) -> None:
        self._run, self._plans = run, plans
        self._last: tuple[Plan, Mapping[str, int]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def submit(self, plan: Plan, **bindings: int) -> Any:
        ticket = self._run.submit(plan, **bindings)
        self._plans.add(plan, bindings)
        self._last = plan, bindings
        return ticket

    def repeat(self, done: Any, times: int) -> Any:
        delay = self._run.repeat(done, times)
        assert self._last is not None
        self._plans.add(*self._last, times)
        return delay


def record(case: Case, renames: Mapping[str, str]) -> Record:
    """What a case does now."""
    strategy, topology, shape = prepare(case.request)
    scenario = virtual_scenario(case.request, strategy, topology, shape)
    plans, program = PlanDigest(renames), strategy.program()
    outcome = run_virtual(topology, [lambda run: program(Recorder(run, plans), scenario)])
    result = Experiment(case.request, strategy, topology, shape, scenario, outcome, None).to_json()
    return {
        "outcome": outcome.ended,
        "time_s": outcome.time_s.hex(),
        "phases": {name: value.hex() for name, value in outcome.phases.items()},
        "ops": digest_of_counts(plans.ops),
        "dependencies": digest_of_counts(plans.edges),
        "keys": sorted(_keys(result)),
        "peak_bytes": dict(sorted(outcome.peak_bytes.items())),
        "count_by_label": dict(sorted(plans.labels.items())),
    }


def _keys(value: object, path: str = "") -> set[str]:
    """Paths of all keys; entries of a list share theirs."""
    if isinstance(value, Mapping):
        return {found for key, entry in value.items() for found in (f"{path}.{key}", *_keys(entry, f"{path}.{key}"))}
    if isinstance(value, list):
        return {found for entry in value for found in _keys(entry, f"{path}[]")}
    return set()


def differences(old: Record, new: Record) -> list[str]:
    """Lines that say what a rewrite changed and must not have; a peak that fell is none, nor is a key that came."""
    lines = []
    lines += [f"key {key} is gone from --json" for key in sorted({*old["keys"]} - {*new["keys"]})]
    for field in ("outcome", "time_s", "phases", "ops", "dependencies"):
        if old[field] != new[field]:
            lines.append(f"{field}: {_readable(old[field])} before, {_readable(new[field])} now")
    for label in sorted({*old["count_by_label"], *new["count_by_label"]}):
        before, now = (entry["count_by_label"].get(label, 0) for entry in (old, new))
        if before != now:
            lines.append(f"ops labelled {label!r}: {before} before, {now} now")
    for tier in sorted({*old["peak_bytes"], *new["peak_bytes"]}):
        before, now = (entry["peak_bytes"].get(tier, 0) for entry in (old, new))
        if now > before:
            lines.append(f"peak of {tier}: {before} bytes before, {now} now")
    return lines


def _readable(value: object) -> str:
    if isinstance(value, str) and "0x" in value:
        return f"{value} ({float.fromhex(value)!r} s)"
    return str(value)


def cases() -> list[Case]:
    """The matrix."""
    made: list[Case] = []

    def add(strategy: str, models: Sequence[str], batches: Sequence[int], *changes: Sequence[str], **more: Any) -> None:
        for model in models:
            for batch in batches:
                for change in changes or ((),):
                    quick = (model, batch) == (models[0], batches[0]) and change == (changes or ((),))[0]
                    request = RunSpec(strategy, model, overrides=tuple(change), batch=batch, **more)
                    made.append(Case(request, quick))

    decode = {"prompt_tokens": 40, "output_tokens": 20}
    models = ("opt-125m", "opt-13b", "llama-2-13b", "gemma-3-270m", "qwen2.5-7b")
    add("instinfer", models[:1], (4, 64, 5), (), ("csd.count=2",), ("csd.count=4",), **decode)
    add("instinfer", models[1:3], (64,), (), ("csd.count=2",), **decode)
    made.append(Case(RunSpec("instinfer", "opt-13b", overrides=("csd.count=20",), batch=64, **decode), quick=False))
    add("instinfer", ("opt-125m",), (6,), (), ("csd.count=2",), **decode, options={"mini_batches": "3"})
    sparse = {"compression": "0.125", "page_ratio": "0.5"}
    add("instinfer", ("opt-125m",), (4, 64), **decode, options=sparse)
    for strategy in ("flexgen", "deepspeed", "dram_kv", "cxl_kv", "gpu_only"):
        add(strategy, models, (4, 64), **decode)
    add("gpu_only", ("opt-125m", "llama-2-13b"), (5,), ("gpu.count=2",), **decode)
    for strategy in ("flexgen_sparq", "vllm_recompute"):
        add(strategy, ("opt-125m", "opt-13b"), (4, 64), **decode)
    for strategy in ("lamina", "vllm_tp"):
        add(strategy, ("llama3-8b", "llama3-70b"), (8,), **decode)
    for strategy in ("fuyou", "zero_infinity", "zero_offload", "colossalai", "flashneuron"):
        add(strategy, ("gpt2", "gpt-13b"), (2, 16), steps=2, seq=256)
    add("fuyou", ("gpt2",), (4,), ("ssd.count=1",), ("gpu.count=2",), steps=2, seq=256)
    add("cxl_finetune", ("qwen2.5-7b", "mistral-nemo-12b"), (1, 4), (), ("aic.count=2",), steps=2, seq=256)
    add("train_gpu_only", ("gpt2", "opt-125m", "llama-2-7b"), (2,), steps=2, seq=256)
    add("train_gpu_only", ("gpt2",), (2,), steps=2, seq=256, options={"save": "inputs"})
    add(
        "train_gpu_only",
        ("gpt2", "llama-2-7b"),
        (2,),
        ("gpu.count=4",),
        steps=2,
        seq=256,
        options={"dp": "2", "tp": "2"},
    )
    for strategy in ("zero_infinity", "zero_offload"):
        add(strategy, ("gpt2",), (2,), ("gpu.count=2",), steps=2, seq=256)
    return made


def load() -> dict[str, Record]:
    """The golden file."""
    return json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}


def load_renames() -> dict[str, str]:
    """Label of today to that of the golden file."""
    return json.loads(RENAMED.read_text(encoding="utf-8"))


def values_of_rows(file: Path) -> dict[str, object]:
    """Row to our value, to the last bit, from what ``windtunnel reproduce all --json`` printed."""
    rows = json.loads(file.read_text(encoding="utf-8"))
    return {
        " | ".join((row["paper"], row["table"], row["row"], row["quantity"])): row["ours"].hex()
        if isinstance(row["ours"], float)
        else row["ours"]
        for row in rows
    }


def paper_of_row(name: str) -> str:
    """The paper that a golden row is of."""
    return name.split(" | ", 1)[0]


def compare_rows(files: Sequence[Path], *, update: bool, golden: Path = REPRODUCED) -> int:
    """Compares our values of published rows with the golden ones, or writes them; returns the exit status.

    Args:
        files: what was printed, of the papers that count.
        update: write instead of comparing.
        golden: the golden file.
    """
    new = {name: value for file in files for name, value in values_of_rows(file).items()}
    papers = set(map(paper_of_row, new))
    all_rows = json.loads(golden.read_text(encoding="utf-8"))
    if update:
        others = {name: value for name, value in all_rows.items() if paper_of_row(name) not in papers}
        golden.write_text(json.dumps(dict(sorted({**others, **new}.items())), indent=1) + "\n", encoding="utf-8")
        return 0
    old = {name: value for name, value in all_rows.items() if paper_of_row(name) in papers}
    wrong = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    for name in wrong:
        print(f"{name}: {_readable(old.get(name))} before, {_readable(new.get(name))} now")
    print(f"digests: {len(new)} rows, {len(wrong)} differ")
    return 1 if wrong else 0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/digests", description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the golden file instead of comparing with it")
    parser.add_argument("--only", nargs="+", default=(), metavar="TEXT", help="cases whose name contains a text")
    parser.add_argument("--quick", action="store_true", help="the cases that CI runs")
    parser.add_argument(
        "--reproduce", type=Path, nargs="+", metavar="FILE", help="what `windtunnel reproduce PAPER... --json` printed"
    )
    given = parser.parse_args(arguments)
    if given.reproduce is not None:
        return compare_rows(given.reproduce, update=given.update)
    golden, renames = load(), load_renames()
    chosen = [
        case
        for case in cases()
        if (case.quick or not given.quick) and (not given.only or any(text in case.name for text in given.only))
    ]
    if not chosen:
        print(f"digests: no case contains {' or '.join(given.only)}; the cases are in tests/support/digests.py")
        return 2
    wrong = 0
    for case in chosen:
        new = record(case, renames)
        if given.update:
            golden[case.name] = new
            continue
        lines = differences(golden[case.name], new) if case.name in golden else ["absent: run with --update"]
        wrong += bool(lines)
        if lines:
            print(case.name, *lines, sep="\n  ")
    if given.update:
        known = {case.name for case in cases()}
        kept = {name: golden[name] for name in sorted(golden) if name in known}
        GOLDEN.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(f"digests: {len(chosen)} cases, " + ("written" if given.update else f"{wrong} differ"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
