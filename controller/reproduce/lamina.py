"""Lamina: attention on memory devices, against tensor-parallel serving at equal cost, over four request streams.

Source: arXiv 2405.01814v2 [L2] and its first version [L1]; equal-cost configurations from table 5, means of the traces
from table 4. Streams are drawn (see `controller.workload.lengths`), 2,000 requests each, the same for both systems.

Nothing is set from a row: the network stacks are declared with what the paper measured of them, and the rows about them
check that a message costs what is declared. Those, the prices, the sizes, the means of the streams and the paper's own
formula of the least bandwidth are `identity` and count nowhere. What the baseline loses beside its kernels comes from
its developers (`controller.serving.saturated_stream`). Claims that are bounds are rows whose published value is "yes".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from controller.compare.prices import prices
from controller.experiment.run_spec import RunSpec
from controller.models.catalog import load_model
from controller.offload.network_bandwidth import least_bandwidth_bytes_per_s
from controller.reproduce.rows import Paper, PublishedRow, Results, Value, identities
from controller.topology.loader import load_topology
from controller.workload.lengths import draw_stream
from node.hardware.units import GIGA

MODELS: Mapping[str, tuple[str, str]] = {
    "llama-33b": ("1,2", "2"),
    "llama-65b": ("2,4", "4"),
    "llama3-70b": ("2,4", "4"),
}
"""DOP of Lamina and GPUs of the baseline, by model (L2, table 5)."""
TRACES = ("azure_conv", "azure_code", "kimi_conv", "kimi_ta")
SIZES: Mapping[str, tuple[float, int]] = {
    "llama-33b": (64.7, 1_597_440), "llama-65b": (130.1, 2_621_440), "llama3-70b": (137.5, 327_680),
}  # fmt: skip
"""Weights [GB] (L2, table 3) and cache of a token [bytes]."""
LENGTHS: Mapping[str, tuple[float, float]] = {
    "azure_conv": (1154.7, 211.1), "azure_code": (2047.8, 27.9), "kimi_conv": (12035.1, 342.6),
    "kimi_ta": (8560.0, 182.1),
}  # fmt: skip
"""Mean prompt and output (L2, table 4) [tokens]."""
GAIN = (0.161, 0.901)
"""Least and largest gain in throughput over the baseline (L2, abstract)."""
OVERLAP: Mapping[str, tuple[float, tuple[int, ...]]] = {
    "llama-65b": (0.132, (2, 4, 8, 16, 24)),
    "llama3-70b": (0.035, (8, 16, 32, 64, 128)),
}
"""Largest gain by sending q first (L2, section 6.4), and the batches that it is looked for at."""
FAR_FROM_ESTIMATES = (
    "estimates of the first version, over setups that its abstract does not name; ours are the second's"
)
CONTEXT_TOKENS = 4096
"""Of the overlap rows."""


def _stream(model: str, trace: str, stagger: int) -> RunSpec:
    dop, gpus = MODELS[model]
    if not stagger:
        return RunSpec("vllm_tp", model, options={"gpus": gpus, "requests": trace})
    return RunSpec("lamina", model, options={"dop": dop, "stagger": str(stagger), "requests": trace})


def _step(model: str, batch: int, context: int, overrides: tuple[str, ...] = (), **options: str) -> RunSpec:
    """One decode step of one batch."""
    given = {"prefill": "elsewhere", "stagger": "1", **options}
    return RunSpec(
        "lamina", model, overrides=overrides, batch=batch, prompt_tokens=context, output_tokens=2, options=given
    )


def _gain(results: Results, model: str, trace: str, stagger: int = 2) -> float:
    ours, base = results[f"lamina{stagger}/{model}/{trace}"], results[f"vllm/{model}/{trace}"]
    if ours.tokens_per_s is None or base.tokens_per_s is None:
        return float("nan")
    return ours.tokens_per_s / base.tokens_per_s - 1


def _cells() -> list[tuple[str, str]]:
    return [(model, trace) for model in MODELS for trace in TRACES]


def _keys(staggers: Sequence[int], cells: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    names = {0: "vllm", 1: "lamina1", 2: "lamina2"}
    return tuple(f"{names[stagger]}/{model}/{trace}" for model, trace in cells for stagger in staggers)


def _claim(holds: bool, text: str) -> str:
    return f"{'yes' if holds else 'no'}, {text}"


def _inside(value: float) -> bool:
    return GAIN[0] <= value <= GAIN[1]


def _stream_rows() -> list[PublishedRow]:
    rows: list[PublishedRow] = []
    for model, trace in _cells():

        def cell(results: Results, model: str = model, trace: str = trace) -> Value:
            gain = _gain(results, model, trace)
            return _claim(_inside(gain), f"{gain:+.1%}")

        rows.append(
            _row("equal_cost", {"model": model, "trace": trace}, "gain inside +16.1 to +90.1 %", "yes", "",
                 cell, _keys((0, 2), [(model, trace)]))
        )  # fmt: skip

    def lowest(results: Results) -> Value:
        return min(_gain(results, *cell) for cell in _cells())

    def highest(results: Results) -> Value:
        return max(_gain(results, *cell) for cell in _cells())

    def count(results: Results) -> Value:
        inside = sum(_inside(_gain(results, *cell)) for cell in _cells())
        return _claim(inside >= 10, f"{inside} of {len(_cells())}")

    def batch_ratio(results: Results) -> Value:
        ratios = [
            float(results[f"lamina2/{model}/{trace}"].reports["mean_batch"])
            / float(results[f"vllm/{model}/{trace}"].reports["mean_batch"])
            for model, trace in _cells()
        ]
        return sum(ratios) / len(ratios)

    def dollars(results: Results) -> Value:
        ratios = [
            float(results[f"lamina2/{model}/{trace}"].reports["tokens_per_usd"])
            / float(results[f"vllm/{model}/{trace}"].reports["tokens_per_usd"])
            for model, trace in _cells()
        ]
        return max(ratios)

    def slower(results: Results) -> Value:
        later = [
            float(results[f"lamina2/{model}/{trace}"].reports["time_between_tokens_mean_s"])
            > float(results[f"vllm/{model}/{trace}"].reports["time_between_tokens_mean_s"])
            for model, trace in _cells()
        ]
        return _claim(all(later), f"{sum(later)} of {len(later)}")

    def needed(results: Results) -> Value:
        alone = {cell: _gain(results, *cell, 1) for cell in _cells()}
        best = max(alone, key=alone.__getitem__)
        losing = sum(gain <= 0 for gain in alone.values())
        return _claim(
            losing == len(alone), f"{losing} of {len(alone)} lose; at most {alone[best]:+.1%}, {' '.join(best)}"
        )

    def better(results: Results) -> Value:
        ahead = sum(_gain(results, *cell, 2) > _gain(results, *cell, 1) for cell in _cells())
        return _claim(ahead == len(_cells()), f"{ahead} of {len(_cells())}")

    def least_dollars(results: Results) -> Value:
        ratios = [
            float(results[f"lamina2/{model}/{trace}"].reports["tokens_per_usd"])
            / float(results[f"vllm/{model}/{trace}"].reports["tokens_per_usd"])
            for model, trace in _cells()
        ]
        return min(ratios)

    every, single = _keys((0, 2), _cells()), _keys((0, 1, 2), _cells())
    rows += [
        _row("equal_cost", {"cells": "all"}, "at least 10 of 12 gains inside", "yes", "", count, every, 0.0),
        _row("equal_cost", {"cells": "all"}, "lowest gain", GAIN[0], "ratio", lowest, every),
        _row("equal_cost", {"cells": "all"}, "highest gain", GAIN[1], "ratio", highest, every),
        _row("equal_cost", {"cells": "all"}, "mean batch over that of vLLM", 2.39, "x", batch_ratio, every, 0.10),
        _row(
            "equal_cost", {"model": "llama3-70b", "trace": "azure_conv", "dop": "2,4"}, "attainable batch", 800.0,
            "requests", lambda results: float(results["lamina2/llama3-70b/azure_conv"].reports["mean_batch"]),
            ("lamina2/llama3-70b/azure_conv",), 0.10,
        ),
        _row("equal_cost", {"cells": "all"}, "time between tokens longer than vLLM's", "yes", "", slower, every, 0.0),
        _row("stagger", {"cells": "all"}, "two staggered batches beat one batch", "yes", "", better, single, 0.0),
        _row("stagger", {"cells": "all"}, "one batch alone does not beat vLLM", "yes", "", needed, single, mark="D"),
        _row("first_version", {"cells": "all"}, "least ratio of tokens per dollar", 1.48, "x", least_dollars, every),
        _row("first_version", {"cells": "all"}, "largest ratio of tokens per dollar", 12.1, "x", dollars, every,
             why=FAR_FROM_ESTIMATES),
    ]  # fmt: skip
    return rows


def _row(
    table: str, row: Mapping[str, str | int | float], quantity: str, published: Value, unit: str,
    ours: Callable[[Results], Value], runs: tuple[str, ...], tolerance: float | None = None, mark: str = "P",
    why: str = "",
) -> PublishedRow:  # fmt: skip
    # Tables show the row, not the quantity: a claim is named in both.
    named = {**row, "claim" if isinstance(published, str) else "of": quantity.replace(" ", "_")}
    return PublishedRow(table, named, quantity, published, unit, mark, ours, runs, tolerance, why=why)


def _scaling_rows() -> list[PublishedRow]:
    """Figure 11 and the text about it: what more devices of either pool give, LLaMA3-70B on Azure-Conv."""
    start, more_memory, more_models, double = (f"dop/{dop}" for dop in ("2,2", "2,4", "4,4", "2,8"))

    def gain(results: Results, first: str, second: str) -> float:
        before, after = results[first].tokens_per_s, results[second].tokens_per_s
        return float("nan") if before is None or after is None else after / before - 1

    def faster(results: Results) -> Value:
        memory, models = gain(results, start, more_memory), gain(results, more_memory, more_models)
        return _claim(memory > models, f"{memory:+.1%} from 2 to 4 memory devices, {models:+.1%} from 2 to 4 models")

    def saturated(results: Results) -> Value:
        more = gain(results, more_memory, double)
        return _claim(more < 0.05, f"{more:+.1%} from 4 to 8 memory devices")

    row: dict[str, str | int | float] = {"model": "llama3-70b", "trace": "azure_conv"}
    return [
        _row("scaling", row, "memory devices give more than model devices", "yes", "", faster,
             (start, more_memory, more_models)),
        _row("scaling", row, "more than 4 memory devices give nothing", "yes", "", saturated, (more_memory, double)),
    ]  # fmt: skip


def _overlap_rows() -> list[PublishedRow]:
    rows: list[PublishedRow] = []
    for model, (published, batches) in OVERLAP.items():
        keys = tuple(f"overlap/{model}/{batch}/{way}" for batch in batches for way in ("on", "off"))

        def largest(results: Results, model: str = model, batches: tuple[int, ...] = batches) -> float:
            return max(
                1 - results[f"overlap/{model}/{batch}/on"].time_s / results[f"overlap/{model}/{batch}/off"].time_s
                for batch in batches
            )

        def bounded(
            results: Results, find: Callable[[Results], float] = largest, published: float = published
        ) -> Value:
            gain = find(results)
            return _claim(published / 2 < gain <= published, f"{gain:.1%}")

        named: dict[str, str | int | float] = {"model": model, "context": CONTEXT_TOKENS}
        rows += [
            _row("overlap", named, "largest gain by sending q first", published, "ratio", largest, keys),
            _row("overlap", named, f"at most {published:.1%} and over half of it", "yes", "", bounded, keys, 0.0),
        ]
    return rows


def _network_rows() -> list[PublishedRow]:
    rows: list[PublishedRow] = []
    for stack, trip_us, rate in (("fhbn", 33.0, 45.7), ("nccl", 66.6, 35.5)):
        key = f"network/{stack}"

        def trip(results: Results, key: str = key) -> Value:
            return float(results[key].reports["round_trip_s"]) * 1e6

        def speed(results: Results, key: str = key) -> Value:
            return float(results[key].reports["bytes_per_s"]) / GIGA

        rows += [
            _row("network_declared", {"stack": stack}, "round trip of a small message", trip_us, "us", trip, (key,)),
            _row("network_declared", {"stack": stack}, "rate of a long message", rate, "GB/s", speed, (key,)),
        ]

    def least(batch: int, context: int) -> Callable[[Results], Value]:
        def ours(_: Results) -> Value:
            devices = load_topology("lamina").devices
            shape = load_model("llama3-70b")
            model, memory = devices["model0"].spec, devices["memory0"].spec
            return least_bandwidth_bytes_per_s(shape, model, memory, batch, context) / GIGA

        return ours

    one: dict[str, str | int | float] = {"model": "llama3-70b", "h100": 1, "h20": 1, "batch": 300}
    rows += [
        _row(
            "bandwidth", {**one, "context": 4096}, "least network bandwidth at alpha 0.2", 31.0, "GB/s",
            least(300, 4096), (), 0.05, "D",
        ),
        _row("bandwidth", {**one, "context": 8192}, "stays at or below 30 GB/s", "yes", "",
             lambda results: _bounded(least(300, 8192)(results)), (), 0.0),
    ]  # fmt: skip
    return rows


def _bounded(value: Value) -> Value:
    assert isinstance(value, float)
    return _claim(value <= 30.0, f"{value:.1f} GB/s")


def _device_rows() -> list[PublishedRow]:
    shape = load_model("llama3-70b")
    h100 = load_topology("lamina").devices["model0"].spec
    peak = max(unit.peak_flop_per_s.get(shape.dtype, 0.0) for unit in h100.computes.values())

    def mfu(key: str, batch: int) -> Callable[[Results], Value]:
        def ours(results: Results) -> Value:
            busy_s = results[key].busy_ratio["model0.stream"] * results[key].time_s
            used = 2.0 * shape.parameter_count * batch / 2 / busy_s / peak
            return _claim(used < 0.2, f"{used:.1%}")

        return ours

    def used(key: str) -> Callable[[Results], Value]:
        def ours(results: Results) -> Value:
            busy = results[key].busy_ratio
            share = busy["memory0.hbm.simplex"] / busy["memory0.stream"]
            return _claim(share > 0.7, f"{share:.1%}")

        return ours

    def fill(_: Results) -> Value:
        return h100.tiers["hbm"].capacity_bytes / (8192 * shape.kv_bytes_per_token())

    rows = [
        _row("devices", {"model": "llama3-70b", "batch": batch}, "model's MFU below 20 %", "yes", "",
             mfu(f"mfu/{batch}", batch), (f"mfu/{batch}",))
        for batch in (64, 99)
    ]  # fmt: skip
    rows += [
        _row("devices", {"device": product, "batch": 20, "context": 8192}, "attention's use of bandwidth above 70 %",
             "yes", "", used(f"use/{product}"), (f"use/{product}",))
        for product in ("h100_sxm", "h20")
    ]  # fmt: skip
    rows.append(
        _row("devices", {"model": "llama3-70b", "context": 8192}, "requests whose KV fills an H100", 29.8, "requests",
             fill, (), 0.10, "D")
    )  # fmt: skip
    # The last divides a declared capacity by a size.
    return [*rows[:-1], *identities(rows[-1:])]


def _input_rows() -> list[PublishedRow]:
    """What the runs are given, beside what is published of it: sizes of the models, means of the drawn streams."""
    rows: list[PublishedRow] = []
    for model, (weights_gb, token_bytes) in SIZES.items():
        shape = load_model(model)
        rows += [
            _row("inputs", {"model": model}, "weights", weights_gb, "GB",
                 _constant(2 * shape.parameter_count / GIGA), ()),
            _row("inputs", {"model": model}, "cache of a token", token_bytes, "bytes",
                 _constant(shape.kv_bytes_per_token()), (), mark="D"),
        ]  # fmt: skip
    for trace in TRACES:
        stream, published = draw_stream(trace, 0), LENGTHS[trace]
        drawn = (("mean prompt", stream.prompt_tokens), ("mean output", stream.output_tokens))
        rows += [
            _row("inputs", {"trace": trace}, quantity, mean, "tokens", _constant(float(lengths.mean())), ())
            for (quantity, lengths), mean in zip(drawn, published, strict=True)
        ]
    return rows


def _constant(value: float) -> Callable[[Results], Value]:
    return lambda _: value


def _cost_rows() -> list[PublishedRow]:
    published = {"llama-33b": (20.32, 22.12), "llama-65b": (40.64, 44.24), "llama3-70b": (40.64, 44.24)}

    def cost(h100: int, h20: int) -> Callable[[Results], Value]:
        def ours(_: Results) -> Value:
            each = prices()
            return sum(count * (each[name].hour_usd or 0.0) for name, count in (("h100_sxm", h100), ("h20", h20)))

        return ours

    rows: list[PublishedRow] = []
    for model, (dop, gpus) in MODELS.items():
        a, b = map(int, dop.split(","))
        rows.append(
            _row("cost", {"model": model, "system": f"lamina_{dop}"}, "rent", published[model][0], "USD/h",
                 cost(a, b), (), 0.01)
        )  # fmt: skip
        rows.append(
            _row("cost", {"model": model, "system": f"vllm_{gpus}"}, "rent", published[model][1], "USD/h",
                 cost(int(gpus), 0), (), 0.01)
        )  # fmt: skip
    return rows


def paper() -> Paper:
    """The runs and rows of the paper."""
    runs: dict[str, RunSpec] = {}
    for model, trace in _cells():
        runs[f"vllm/{model}/{trace}"] = _stream(model, trace, 0)
        for stagger in (1, 2):
            runs[f"lamina{stagger}/{model}/{trace}"] = _stream(model, trace, stagger)
    for model, (_, batches) in OVERLAP.items():
        for batch in batches:
            for way in ("on", "off"):
                runs[f"overlap/{model}/{batch}/{way}"] = _step(model, batch, CONTEXT_TOKENS, overlap=way)
    for dop in ("2,2", "2,4", "4,4", "2,8"):
        stream = _stream("llama3-70b", "azure_conv", 2)
        runs[f"dop/{dop}"] = replace(stream, options={**stream.options, "dop": dop})
    for stack in ("fhbn", "nccl"):
        runs[f"network/{stack}"] = RunSpec("lamina", "llama3-70b", options={"probe": "network", "stack": stack})
    for batch in (64, 99):
        runs[f"mfu/{batch}"] = _step("llama3-70b", batch, 1024)
    for product in ("h100_sxm", "h20"):
        replaced = (f"memory.product={product}",)
        runs[f"use/{product}"] = _step("llama3-70b", 20, 8192, replaced, dop="2,1", overlap="off")
    rows = (
        *_stream_rows(), *_scaling_rows(), *_overlap_rows(), *identities(_network_rows()), *_device_rows(),
        *identities(_input_rows()), *identities(_cost_rows()),
    )  # fmt: skip
    title = "Lamina: attention offloading at equal cost (LLaMA-33B, 65B and 3-70B, four request streams)"
    return Paper("lamina", title, runs, rows)
