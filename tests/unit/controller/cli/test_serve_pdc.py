"""`windtunnel serve --cluster pdc` on a small supernode, from its words to its figures."""

import json
from pathlib import Path

import pytest

from controller.cli.main import main
from controller.experiment.serving_run import serve
from controller.experiment.serving_spec import ServeSpec

SMALL = ("serve", "--topology", "cloudmatrix384", "--set", "fabric.hosts=4", "--model", "deepseek-r1", "--cluster",
         "pdc", "--requests", "poisson:40/s", "--lengths", "in=1024,out=64", "--num-prompts", "24")  # fmt: skip
POOLS = {"prefill": "1", "decode_ep": "32", "cache": "4"}


def with_options(**changes: str) -> list[str]:
    """A small supernode with changed options."""
    options = POOLS | changes
    return [*SMALL, *(word for name, value in options.items() for word in ("--cluster-option", f"{name}={value}"))]


def run(capsys: pytest.CaptureFixture[str], *more: str, **changes: str) -> dict:
    assert main([*with_options(**changes), *more, "--json"]) == 0
    made: dict = json.loads(capsys.readouterr().out)
    return made


@pytest.fixture
def hashed(tmp_path: Path) -> str:
    """Twelve prompts with the same first 1,024 tokens, half a second apart."""
    lines = [
        json.dumps(
            {"timestamp": 500 * at, "input_length": 2048, "output_length": 8, "hash_ids": [1, 2, 10 + at, 50 + at]}
        )
        for at in range(12)
    ]
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(lines))
    return str(path)


def test_pools_serve_and_hand_over(capsys: pytest.CaptureFixture[str]) -> None:
    made = run(capsys)
    assert made["completed"] == 24 and made["cluster"]["migrations"] == 24
    assert made["cluster"]["roles"] == ["prefill", "decode"]
    assert made["cluster"]["model_cache"]["cold_decode"] > made["cluster"]["model_cache"]["switch_decode"] > 0
    assert any("70% accepted" in note for note in made["notes"])
    over_ub = run(capsys, rdma="0")
    # The handoff is before the second token, so it is part of TPOT.
    assert over_ub["mean_tpot_ms"] < made["mean_tpot_ms"]
    assert over_ub["mean_ttft_ms"] == pytest.approx(made["mean_ttft_ms"])
    cold = run(capsys, start="1")
    assert cold["mean_ttft_ms"] > made["mean_ttft_ms"] + 100


def test_prefixes_are_read_instead_of_computed(capsys: pytest.CaptureFixture[str], hashed: str) -> None:
    words = ("--requests", hashed, "--lengths", "", "--num-prompts", "12")
    cached = run(capsys, *words, "--save-detailed")
    store = cached["cluster"]["kv_store"]
    assert store["hit_blocks"] == 11 * 2 and store["plane"] == "ub"
    assert [each["cached_tokens"] for each in cached["requests"]] == [0] + [1024] * 11
    without = run(capsys, *words, cache="0")
    assert "kv_store" not in without["cluster"]
    assert cached["mean_ttft_ms"] < without["mean_ttft_ms"]
    vpc = run(capsys, *words, ub="0")
    assert vpc["cluster"]["kv_store"]["load_s"] > store["load_s"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("prefill=0",), "the prefill pool has no device"),
        (("decode=0",), "the decode pool has no device"),
        (("prefill=2",), "raise --set fabric.hosts=N"),
        (("decode_ep=48",), "write --cluster-option decode_ep=N with a multiple of 32"),
        (("prefill_ep=16", "redundant=1"), "do not divide over 16 dies of the prefill pool; write"),
        (("window=3",), "overflows its receive window; write window="),
        (("cache_share=0.000001",), "less DRAM than one block"),
        (("cache=99",), "write cache=4 or less"),
        (("acepted=0.5",), "pdc has no such option"),
        (("accepted=2",), "write a share of 0 to 1"),
    ],
)
def test_wrong_pools_say_what_to_write(changes: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(with_options(**dict(change.split("=") for change in changes))) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "llama3-8b"), "write --model deepseek-r1"),
        (("--ep", "8"), "pools have shapes of their own"),
        (("--topology", "dgx_h100"), "write --topology cloudmatrix384"),
    ],
)
def test_what_pools_cannot_be_made_of(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = [word for word in with_options() if word not in ("--set", "fabric.hosts=4")]
    assert main([*given, *words]) == 2
    assert said in capsys.readouterr().err


def test_under_faults_every_request_ends_and_lost_blocks_are_counted(
    capsys: pytest.CaptureFixture[str], hashed: str, tmp_path: Path
) -> None:
    """A prefill die, a decode die, a cache server and an RDMA link go in mid-service; one of each pool is left."""
    faults = tmp_path / "faults.yaml"
    faults.write_text(
        "faults:\n"
        "  - {target: npu0, kind: dead, at: 700 ms}\n"
        "  - {target: npu64, kind: dead, at: 1600 ms, for: 1 s}\n"
        "  - {target: cpu5, kind: dead, at: 2600 ms, for: 2 s}\n"
        "  - {target: npu97.rdma-rnic_h6, kind: dead, at: 0 ms}\n"
    )
    options = POOLS | {"prefill": "2", "decode": "2", "cache": "2"}
    words = [word for name, value in options.items() for word in ("--cluster-option", f"{name}={value}")]
    given = [word.replace("fabric.hosts=4", "fabric.hosts=8") for word in SMALL]
    given[given.index("poisson:40/s")] = hashed
    given[given.index("in=1024,out=64")] = ""
    given[given.index("24")] = "12"
    assert main([*given, *words, "--faults", str(faults), "--json", "--save-detailed"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["completed"] == 12 and made["failed"] == 0
    assert {each["outcome"] for each in made["requests"]} == {"ok"}
    events = [event["what"] for event in made["faults"]["events"]]
    assert events.count("down") == 2 and "cache server cpu5 down" in events and "up" in events
    assert made["cluster"]["kv_store"]["servers"] == 8


@pytest.mark.slow
def test_equal_compositions_are_executed_once_at_four_fifths_of_the_printed_rate() -> None:
    """256 NPUs: 0.8 x 1,943 tokens/s of 160 decode NPUs, in answers of 2,400 tokens; an hour has 373,000 of them."""
    spec = ServeSpec("deepseek-r1", "cloudmatrix384", requests="poisson:103.6/s", lengths="in=4096,out=2400",
                     num_prompts=12_000, cluster="pdc")  # fmt: skip
    found = serve(spec)
    assert found.metrics.completed == 12_000 and found.plans_executed < 250
    assert found.metrics.tpot.mean_s < 0.0494 and not found.growth_per_s
