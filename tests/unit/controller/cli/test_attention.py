"""``windtunnel attention``: what it prints, and what it refuses."""

import json

import pytest

from controller.cli.main import main

SMALL = ["--topology", "dgx_h100", "--ranks", "4", "--seq", "4096", "--heads", "8"]


def test_the_table_has_a_row_for_every_scheme_and_a_line_for_every_step(capsys):
    assert main(["attention", *SMALL, "--kv-heads", "2"]) == 0
    out = capsys.readouterr().out
    assert (
        "4,096 tokens, 8 heads on 2 of K and V of 128, batch 1, bf16, causal: 4 ranks of dgx_h100, virtual"
        in " ".join(out.split())
    )
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert {"ring", "striped", "zigzag", "token_ring"} <= set(rows)
    assert "#wrong" not in out and "not checked" in out, "nothing was moved, so nothing is counted"
    # Four steps and TokenRing's last exchange.
    assert {"0", "1", "2", "3", "4"} <= set(rows) and "5" not in rows


def test_json_holds_base_units_and_adds_up(capsys):
    assert main(["attention", "token_ring", *SMALL, "--no-causal", "-d", "fp16", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    config, (result,) = document["config"], document["results"]
    assert (config["tokens"], config["kv_heads"], config["causal"], config["dtype"]) == (4096, 8, False, "fp16")
    assert config["connection_bytes_per_s"] is None and config["devices"] == ["gpu0", "gpu1", "gpu2", "gpu3"]
    assert result["scheme"] == "token_ring" and result["nwrong"] is None
    assert sum(step["time_s"] for step in result["steps"]) == pytest.approx(result["time_s"], rel=1e-9)
    assert sum(step["exposed_s"] for step in result["steps"]) == pytest.approx(result["exposed_s"])
    assert result["steps"][0]["sent_bytes"] == 4096 * 8 * 128 * 2


def test_the_rate_of_a_connection_can_be_overridden(capsys):
    times = []
    for rate in ("12.9 GB/s", "6.45 GB/s"):
        words = ["--topology", "a10_4", "--seq", "24000", "--set", f"options.connection.rate={rate}", "--json"]
        assert main(["attention", "zigzag", *words]) == 0
        times.append(json.loads(capsys.readouterr().out)["results"][0]["steps"][1]["time_s"])
    # At the full rate the first step's attention still takes a little of the second's time.
    assert times[1] == pytest.approx(2 * times[0], rel=0.05)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["zigzig"], "no scheme of attention 'zigzig'; did you mean 'zigzag'"),
        (["zigzag", "--seq", "4100"], "4100 tokens are no multiple of 8; use 4096 or 4104 tokens"),
        (["--ranks", "0"], "0 ranks; at least 1"),
        (["--ranks", "9"], "9 ranks, and dgx_h100 has 8 devices"),
        (["--devices", "gpu0,gpu0"], "--ranks and --devices both say"),
        (["--kv-heads", "3"], "8 heads cannot share 3 KV heads"),
        (["--heads", "0"], "attention over 0 heads"),
        (["--head-dim", "-1"], "attention over -1 columns"),
        (["--batch", "0"], "attention over 0 sequences"),
        (
            ["--seq", "9999999999"],
            "the number of tokens is 9999999999; the limit is 1,073,741,824: the queries",
        ),
        (["--heads", "999999"], "the number of heads is 999999; the limit is 65,536: "),
        (["--batch", "9999999"], "the number of sequences is 9999999; the limit is 1,048,576: "),
        (["--seq", "0"], "attention over 0 tokens"),
        (["--dtype", "int8"], "attention does not run in 'int8'"),
        (["--seed", "-1"], "a seed of -1"),
        (["--live", "--seq", "65536"], "use a shorter --seq or fewer --heads"),
        (["--topology", "nowhere"], "nowhere"),
    ],
)
def test_wrong_input_is_named_and_ends_with_2(capsys, words, message):
    assert main(["attention", *SMALL, *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and "Traceback" not in captured.err and captured.out == ""


def test_more_than_memory_holds_is_a_result_of_its_own(capsys):
    assert main(["attention", "ring", *SMALL, "--heads", "64", "--seq", "40000000"]) == 0
    assert "OOM at gpu" in capsys.readouterr().out


def test_devices_are_ranks_in_the_order_given(capsys):
    assert main(["attention", "ring", "--devices", "gpu2,gpu0", "--seq", "1024", "--heads", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["devices"] == ["gpu2", "gpu0"]
    assert main(["attention", "ring", "--devices", "gpu2,gpu2", "--seq", "1024"]) == 2
    assert "name each device once" in capsys.readouterr().err
