"""CXL-aware fine-tuning: the authors' benchmarks of Adam and copies, and the throughput of their placements.

Source: the first author's public benchmark data (DandinPower/numa-cpu-adam-bench and GPU bandwidth data, March 2025)
for Adam and copies; the abstract of arXiv 2507.03305 for throughput, whose machine, DRAM and GPU it does not name. Ours
of the first are plans of one kernel or copy (`cxl_bench.py`); ours of the second are training runs of `cxl_finetune` on
the declared host with 100 GiB of DRAM for placements, as the authors' later reference machine gives them. With the
128 GiB that this machine shows the larger model spills less, which is printed beside it.

Constants of the declared host were read off some of these rows; they are marked as calibration and count nowhere. Two
set the rates of DRAM and card under Adam (671,088,640 elements), three those of copies of 2 GiB: the link, and what the
card gives and takes. The call of Adam comes from 1,835,008 elements in DRAM and the rate of the last-level cache from
12,845,056, which is no row here; the size of that cache was chosen with the copies of 128 MiB to the card in view, and
how long the smallest copy takes is the latency of the GPU's link. All these are the authors' raw data: constants that
were measured by the authors. What holds by a rule of sizes alone, footprints and the example, is `identity`.

Absent: what the same author measured of other models on machines without a card.

Small copies miss between 256 KiB and 4 MiB: measured, bytes up to 1 MiB go at some 30 GiB/s beyond the call; ours go at
the rate of the link from the first byte on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from controller.experiment.run_spec import RunSpec
from controller.offload.group_placement import Nodes, TensorGroup, cxl_aware
from controller.reproduce.cxl_bench import CARD, DRAM, adam_ms, copy_bytes_per_s
from controller.reproduce.rows import Paper, PublishedRow, Results, Value, identities, throughput_ratio

KIB, MIB, GIB = 2**10, 2**20, 2**30
Case = tuple[str, tuple[int, int]]
"""Model and workload."""

ADAM_MS: Mapping[int, tuple[float, float]] = {
    5_242_880: (0.258, 0.444), 20_971_520: (1.539, 4.221), 73_400_320: (6.903, 25.724), 671_088_640: (67.626, 273.293),
    1_835_008: (0.1705, 0.1839), 67_895_296: (6.3118, 23.754), 544_997_376: (54.825, 228.82),
}  # fmt: skip
"""Elements to milliseconds with all tensors in DRAM and with all on the card: Mistral-Nemo-12B's tensors, then
Qwen2.5-7B's."""
ADAM_CALIBRATION = ((671_088_640, DRAM), (671_088_640, CARD), (1_835_008, DRAM))
ADAM_PRINTED = ((5_242_880, CARD),)
"""84 MB fit into any cache of such a host, 206 MB on the card take little more than in DRAM, and yet this row takes 1.7
times its twin in DRAM: no capacity explains both."""

SLOWDOWN: Mapping[int, float] = {5_242_880: 1.72, 20_971_520: 2.74, 73_400_320: 3.73, 671_088_640: 4.04}
"""Elements to time on the card over that in DRAM; about 4 beyond 20 million, says the abstract. The first has a row
above that no capacity of a cache explains, the second follows from two counted rows, the last from two calibrated,
which makes it and the number of the abstract calibration too."""

INTERLEAVED_MS: Mapping[int, Mapping[tuple[int, int], float]] = {
    20_971_520: {(1, 1): 2.075, (1, 2): 2.767, (1, 3): 3.110, (1, 4): 3.330},
    73_400_320: {(1, 1): 13.258, (1, 2): 17.757, (1, 3): 19.385, (1, 4): 20.839},
    671_088_640: {(1, 1): 138.93, (1, 2): 175.59, (1, 3): 200.24, (1, 4): 216.25},
}
"""Elements to pages in turn on DRAM and card to milliseconds."""

COPIES: Mapping[tuple[str, int], tuple[float, float]] = {
    (DRAM, 16 * MIB): (48.4, 50.6), (DRAM, 128 * MIB): (51.6, 51.6), (DRAM, 2 * GIB): (51.8, 51.7),
    (CARD, 16 * MIB): (50.1, 50.8), (CARD, 128 * MIB): (50.9, 48.4), (CARD, 2 * GIB): (49.8, 34.7),
}  # fmt: skip
"""Where the host's buffers lie and bytes to GiB/s to the GPU and from it."""
COPY_CALIBRATION = (
    (DRAM, 2 * GIB, False), (CARD, 2 * GIB, False), (CARD, 2 * GIB, True), (CARD, 128 * MIB, True),
)  # fmt: skip
SMALL_COPIES: Mapping[int, float] = {64 * KIB: 7.4, 256 * KIB: 17.0, MIB: 25.0, 4 * MIB: 43.0, 8 * MIB: 47.0}
"""Bytes to GiB/s, from DRAM to the GPU."""
SMALLEST_COPY = (0.34, 0.77)
"""GiB/s of 4 KiB, from DRAM to the GPU, least and most."""
SHARED_CARD: Mapping[bool, float] = {False: 53.0, True: 38.5}
"""Out of the GPUs? -> GB/s of all of them together on one card, derived from the same data."""

MODELS: Mapping[str, float] = {"qwen2.5-7b": 152.3, "mistral-nemo-12b": 245.0}
"""To the bytes of all tensor groups but the checkpoints [GB]."""
CHECKPOINTS: Mapping[str, tuple[float, ...]] = {
    "qwen2.5-7b": (0.8, 6.6, 13.2, 6.6, 13.2, 19.7), "mistral-nemo-12b": (1.7, 13.4, 26.8, 13.4, 26.8, 40.3),
}  # fmt: skip
WORKLOADS = ((1, 4096), (8, 4096), (16, 4096), (1, 32768), (2, 32768), (3, 32768))
"""Batch and sequence of one step."""
MANY_TOKENS = 16_384
SYSTEMS: Mapping[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "local_only": ({"placement": "local_only"}, ()),
    "naive_interleaving": ({"placement": "naive_interleaving"}, ()),
    "cxl_aware": ({"placement": "cxl_aware"}, ()),
    "cxl_aware, two cards": ({"placement": "cxl_aware"}, ("aic.count=2",)),
    "cxl_aware, 128 GiB": ({"placement": "cxl_aware", "dram_budget": "128 GiB"}, ()),
}

EXAMPLE_PARAMETERS = 8_000_000_000
"""LFM2.5-8B, by its name; the placement is the same from 7 to 8.9 billion."""
EXAMPLE: Mapping[str, str] = {
    "momentum": "DRAM", "variance": "DRAM", "master_gradients": "DRAM", "master_weights": "DRAM+CXL",
    "compute_weights": "CXL", "checkpoints": "CXL", "compute_gradients": "CXL",
}  # fmt: skip


def paper() -> Paper:
    """The rows; those of training name their runs."""
    return Paper(
        "cxl",
        "CXL-aware fine-tuning: Adam, copies and placements (arXiv 2507.03305 and its author's benchmark data)",
        {
            _key(model, work, system): RunSpec(
                "cxl_finetune", model, overrides=overrides, batch=work[0], seq=work[1], options=options
            )
            for model in MODELS
            for work in WORKLOADS
            for system, (options, overrides) in SYSTEMS.items()
            if "128 GiB" not in system or work[0] * work[1] >= MANY_TOKENS
        },
        (
            *_adam_rows(),
            *_copy_rows(),
            *identities(_example_rows()),
            *identities(_footprint_rows()),
            *_throughput_rows(),
        ),
        knob=(
            "constants measured by the authors, read off the rows marked calibration: DRAM and card under Adam of "
            "671,088,640 elements, link and card under copies of 2 GiB, the size of the last-level cache by copies of "
            "128 MiB, the call of Adam, the call of a copy by those of 4 KiB; nothing is set from a row of throughput"
        ),
    )


def _key(model: str, work: tuple[int, int], system: str) -> str:
    """Name of a run."""
    return f"{model} {work[0]}x{work[1]} {system}"


def _ours(function: Callable[..., Value], *arguments: object) -> Callable[[Results], Value]:
    """Ours of a row without runs: `function` of `arguments`, called when the row is compared."""
    return lambda results: function(*arguments)


def _gib_per_s(nbytes: int, place: str, out: bool) -> float:
    return copy_bytes_per_s(nbytes, place, out) / GIB


def _smallest_copy() -> str:
    rate, (least, most) = _gib_per_s(4 * KIB, DRAM, False), SMALLEST_COPY
    return f"{'inside' if least <= rate <= most else 'outside'}, {rate:.2f}"


def _both_gb_per_s(out: bool) -> float:
    return 2 * copy_bytes_per_s(2 * GIB, CARD, out, 2, False) / 1e9


def _slowdown(elements: int) -> float:
    return adam_ms(elements, 0, 1) / adam_ms(elements, 1, 0)


def _adam_rows() -> Iterable[PublishedRow]:
    for elements, pair in ADAM_MS.items():
        for place, published in zip((DRAM, CARD), pair, strict=True):
            parts = (1, 0) if place == DRAM else (0, 1)
            yield PublishedRow(
                "cpu_adam", {"elements": elements, "on": place}, "time of one step", published, "ms", "A",
                _ours(adam_ms, elements, *parts), (),
                None if (elements, place) in ADAM_PRINTED + ADAM_CALIBRATION else 0.10,
                (elements, place) in ADAM_CALIBRATION,
            )  # fmt: skip
    for elements, column in INTERLEAVED_MS.items():
        for parts, published in column.items():
            yield PublishedRow(
                "cpu_adam_interleaved", {"elements": elements, "dram": parts[0], "card": parts[1]}, "time of one step",
                published, "ms", "A", _ours(adam_ms, elements, *parts), (),
                0.10,
            )  # fmt: skip
    for elements, published in SLOWDOWN.items():
        yield PublishedRow(
            "cpu_adam", {"elements": elements, "of": "card_over_dram"}, "card over DRAM", published, "x", "D",
            _ours(_slowdown, elements), (), 0.10 if elements == 73_400_320 else None, elements == 671_088_640,
        )  # fmt: skip
    yield PublishedRow(
        "cpu_adam", {"elements": 671_088_640, "of": "card_over_dram", "source": "abstract"}, "card over DRAM", 4.0, "x",
        "P", _ours(_slowdown, 671_088_640), (), None, True,
    )  # fmt: skip


def _copy_rows() -> Iterable[PublishedRow]:
    for (place, nbytes), pair in COPIES.items():
        for out, published in zip((False, True), pair, strict=True):
            yield PublishedRow(
                "gpu_copies", {"on": place, "MiB": nbytes // MIB, "way": "out" if out else "in"}, "rate of one GPU",
                published, "GiB/s", "A",
                _ours(_gib_per_s, nbytes, place, out), (),
                None if (place, nbytes, out) in COPY_CALIBRATION else 0.10, (place, nbytes, out) in COPY_CALIBRATION,
            )  # fmt: skip
    for nbytes, published in SMALL_COPIES.items():
        yield PublishedRow(
            "small_copies", {"on": DRAM, "KiB": nbytes // KIB, "way": "in"}, "rate of one GPU", published, "GiB/s", "A",
            _ours(_gib_per_s, nbytes, DRAM, False), (),
        )  # fmt: skip
    # Measured over and over, the smallest copy spread over a range.
    least, most = SMALLEST_COPY
    yield PublishedRow(
        "small_copies", {"on": DRAM, "KiB": 4, "way": "in", "GiB/s": f"{least}_to_{most}"}, "rate of one GPU", "inside",
        "", "A", _ours(_smallest_copy), (), None, True,
    )  # fmt: skip
    for out, published in SHARED_CARD.items():
        yield PublishedRow(
            "two_gpus_one_card", {"MiB": 2048, "way": "out" if out else "in"}, "rate of both GPUs", published,
            "GB/s", "D",
            _ours(_both_gb_per_s, out), (), 0.10,
        )  # fmt: skip


def _example_rows() -> Iterable[PublishedRow]:
    sizes = (4, 4, 4, 4, 2, 1, 2)
    groups = [
        TensorGroup(name, size * EXAMPLE_PARAMETERS, 1 if size == 4 else place)
        for place, (name, size) in enumerate(zip(EXAMPLE, sizes, strict=True))
    ]
    placed = cxl_aware(groups, Nodes((100 * GIB, 256 * GIB)))
    for group, published in EXAMPLE.items():
        dram, card = placed[group]
        where = "DRAM+CXL" if dram and card else "DRAM" if dram else "CXL"
        yield PublishedRow(
            "placement_example", {"group": group, "dram": "100GiB"}, "lies on", published, "", "A",
            _ours(str, where), (), 0.0,
        )  # fmt: skip


def _gigabytes(key: str) -> Callable[[Results], Value]:
    """DRAM that a run took [GB]."""
    return lambda results: results[key].peak_bytes.get("cpu.dram", 0) / 1e9


def _footprint_rows() -> Iterable[PublishedRow]:
    for model, groups in MODELS.items():
        for work, checkpoints in zip(WORKLOADS, CHECKPOINTS[model], strict=True):
            key = _key(model, work, "local_only")
            yield PublishedRow(
                "footprint", {"model": model, "batch": work[0], "seq": work[1]}, "host memory",
                round(groups + checkpoints, 1), "GB", "D",
                _gigabytes(key), (key,), 0.01,
            )  # fmt: skip


def _throughput_rows() -> Iterable[PublishedRow]:
    every = tuple((model, work) for model in MODELS for work in WORKLOADS)
    many = tuple((model, work) for model, work in every if work[0] * work[1] >= MANY_TOKENS)
    one, two, more, naive = "cxl_aware", "cxl_aware, two cards", "cxl_aware, 128 GiB", "naive_interleaving"
    yield _extreme_row("least", one, "local_only", many, 0.97, 0.02)
    yield _extreme_row("most", one, "local_only", many, 0.99, 0.02)
    yield _extreme_row("least", two, "local_only", many, 1.00, 0.02)
    yield _extreme_row("most", two, "local_only", many, 1.00, 0.02)
    yield _extreme_row("least", more, "local_only", many, 0.97, None)
    yield _extreme_row("most", one, naive, every, 1.21, None)
    yield _extreme_row("most", one, naive, many, 1.21, None)

    def behind(results: Results) -> Value:
        ratios = [_ratio(results, case, one, naive) for case in every]
        texts = [ratio for ratio in ratios if isinstance(ratio, str)]
        least = min(ratio for ratio in ratios if not isinstance(ratio, str)) if not texts else 0.0
        return texts[0] if texts else "behind everywhere" if least > 1 else f"ahead by {1 / least - 1:.1%}"

    runs = tuple(_key(*case, system) for case in every for system in (one, naive))
    yield PublishedRow(
        "throughput", {"system": naive, "over": one}, "tokens/s", "behind everywhere", "", "P", behind, runs, 0.0
    )
    for model, work in every:
        for system, published in ((one, "0.97 to 0.99"), (two, "about 1.00"), (naive, "-")):
            yield PublishedRow(
                "throughput_by_workload",
                {"model": model, "batch": work[0], "seq": work[1], "system": _word(system), "over": "local_only"},
                "tokens/s", published, "x", "P",
                throughput_ratio(*(keys := (_key(model, work, system), _key(model, work, "local_only")))), keys,
            )  # fmt: skip


def _extreme_row(
    which: str, system: str, baseline: str, cases: Sequence[Case], published: float, tolerance: float | None
) -> PublishedRow:
    """The least or the most that one system reaches of another over some workloads."""
    tokens = min(work[0] * work[1] for _, work in cases)

    def ours(results: Results) -> Value:
        ratios = [_ratio(results, case, system, baseline) for case in cases]
        texts = [ratio for ratio in ratios if isinstance(ratio, str)]
        numbers = [ratio for ratio in ratios if not isinstance(ratio, str)]
        return texts[0] if texts else min(numbers) if which == "least" else max(numbers)

    return PublishedRow(
        "throughput", {"system": _word(system), "over": baseline, "of": which, "tokens_from": tokens}, "tokens/s",
        published, "x", "P", ours, tuple(_key(*case, name) for case in cases for name in (system, baseline)), tolerance,
    )  # fmt: skip


def _word(system: str) -> str:
    return system.replace(", ", "_").replace(" ", "_")


def _ratio(results: Results, case: Case, system: str, baseline: str) -> Value:
    """Tokens/s of one system over another at one workload, or how one of them ended."""
    return throughput_ratio(_key(*case, system), _key(*case, baseline))(results)
