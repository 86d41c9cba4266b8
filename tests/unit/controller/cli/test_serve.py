"""`windtunnel serve` from its words to its figures."""

import json

import pytest

from controller.cli.main import main

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
        (("--topology", "a6000_ssd", "--utilisation", "0.0001"), "less than one block"),
        (("--model", "mixtral-8x7b"), "choose a dense --model"),
    ],
)
def test_wrong_input_says_what_to_do(changes: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, *changes]) == 2
    assert said in capsys.readouterr().err


def test_a_rate_that_never_drains_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "--requests", "poisson:5000/s", "--num-prompts", "400", "--max-num-seqs", "2"]
    assert main(words) == 0
    assert "the rate never drains: the queue grows by" in capsys.readouterr().out
