"""`windtunnel serve` from its words to its figures."""

import json
from pathlib import Path

import pytest

from controller.cli.main import main
from controller.experiment.serving_run import serve
from controller.experiment.serving_spec import ServeSpec

WORDS = ("serve", "--model", "gpt-30m", "--topology", "a6000_ssd", "--requests", "poisson:50/s", "--lengths",
         "in=64,out=16", "--num-prompts", "30")  # fmt: skip


def test_schedulers_print_the_benchmark_block(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--scheduler", "vllm,sarathi", "--slo", "ttft=1s,tpot=1s"]) == 0
    text = capsys.readouterr().out
    assert text.count("============ Serving Benchmark Result ============") == 2
    assert "Successful requests:                     30" in text
    assert "SLO attainment: 100.0% (ttft 100.0%, tpot 100.0%)" in text
    assert "differ from the sum of their parts by at most" in text


def test_json_has_vllm_keys_and_the_same_bytes_again(capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for _ in range(2):
        assert main([*WORDS, "--json", "--save-detailed"]) == 0
        made = json.loads(capsys.readouterr().out)
        made.pop("wall_s")
        found.append(made)
    assert found[0] == found[1]
    one = found[0]
    assert one["completed"] == 30 and one["total_input_tokens"] == 30 * 64 and len(one["itls"][0]) == 15
    assert {"instances", "time_s", "assumed", "provenance", "requests", "grain_error"} <= one.keys()
    assert one["grain_error"] < 0.05


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("--lengths", "in=250,out=50"), "was made for 256"),
        (("--kv-tokens", "8"), "less than one block of 16 tokens"),
        (("--kv-tokens", "64"), "and the KV pool holds 64"),
        (("--scheduler", "vlm"), "did you mean 'vllm'"),
        (("--slo", "tbt=1s"), "no bound is called 'tbt'"),
        (("--requests", "posson:1/s"), "did you mean 'poisson'"),
        (("--instances", "7"), "lower --instances"),
        (("--instances", "0"), "at least 1 is needed"),
        (("--cluster", "llumnix", "--cluster-option", "ot=3"), "llumnix has no such number; did you mean 'out'?"),
        (
            ("--topology", "a10_4", "--instances", "2", "--cluster", "distserve", "--cluster-option", "prefill=2"),
            "leave none for decodes",
        ),
        (("--live", "--pp", "2", "--topology", "a10_4"), "serving with values does not take yet"),
        (("--http", "127.0.0.1:x"), "'x' is no port"),
        (("--http", "127.0.0.1:0", "--pace", "0"), "above 0"),
        (("--pace", "2"), "add --http HOST:PORT"),
        (("--faults", "none.yaml"), "cannot be read"),
        (("--host-kv-tokens", "-1"), "0 or more"),
        (("--topology", "a6000_ssd", "--utilisation", "0.0001"), "less than one block"),
        (("--model", "gpt-oss-20b"), "gpt-oss-20b has sinks"),
        (("--ep", "2"), "remove --ep, or write --tp 2"),
        (("--model", "mixtral-8x7b", "--tp", "2"), "write --ep 2 instead"),
        (("--model", "mixtral-8x7b", "--topology", "dgx_h100", "--ep", "3"), "write --ep 2 or 4, or"),
    ],
)
def test_wrong_input_says_what_to_do(changes: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, *changes]) == 2
    assert said in capsys.readouterr().err


def test_a_rate_that_never_drains_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "--requests", "poisson:5000/s", "--num-prompts", "400", "--max-num-seqs", "2"]
    assert main(words) == 0
    assert "the rate never drains: the queue grows by" in capsys.readouterr().out


def test_a_search_finds_a_rate_and_writes_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "serving.html"
    words = [*WORDS, "--slo", "ttft=40ms,tpot=20ms", "--find-rate", "--report", str(page), "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)["found_rate"]
    assert found["rate_per_s"] > 0 and found["attained_ratio"] >= 0.9 and len(found["tried"]) > 3
    text = page.read_text()
    assert "attainment over rate" in text and "KV occupancy" in text and "<svg" in text


def test_an_objective_that_cannot_be_met_says_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--slo", "ttft=1us", "--find-rate"]) == 2
    said = capsys.readouterr().err
    assert "no rate attains the objective for 90.0% of the requests: the best is 0.0%" in said


def test_clusters_and_pipelines_run_on_several_devices(capsys: pytest.CaptureFixture[str]) -> None:
    several = ["--topology", "a10_4", "--instances", "2"]
    apart = ["--cluster", "distserve", "--cluster-option", "prefill=1"]
    for more in (["--cluster", "llumnix"], apart, ["--pp", "2"], ["--tp", "2"]):
        assert main([*WORDS, *several, *more, "--json"]) == 0
        made = json.loads(capsys.readouterr().out)
        assert made["completed"] == 30 and made["cluster"]["mean_instances_on"] == pytest.approx(2.0)
    assert made["time_s"] > 0


def test_nano_batches_share_the_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--scheduler", "nanoflow", "--num-prompts", "8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["completed"] == 8


def test_a_run_is_a_serving_result() -> None:
    spec = ServeSpec("gpt-30m", "a6000_ssd", requests="inf", lengths="in=20,out=5", num_prompts=7)
    run = serve(spec)
    result = run.result
    assert (result.requests, result.completed, result.generated_tokens) == (7, 7, 35)
    assert (result.ttft_s.count, result.itl_s.count) == (7, 28)
    assert result.ttft_s.mean_s == pytest.approx(run.metrics.ttft.mean_s)
