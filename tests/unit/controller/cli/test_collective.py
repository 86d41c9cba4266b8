"""The table that readers of nccl-tests know."""

import json
import re

import pytest

from controller.cli.collective_limits import flows_warning, live_warning
from controller.cli.main import main

WORDS = ["collective", "all_reduce", "--topology", "dgx_h100", "--ranks", "4", "--algorithm", "ring", "-b", "1K",
         "-e", "16K", "-f", "4"]  # fmt: skip


def rows_of(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def test_the_table_has_the_columns_of_nccl_tests(capsys):
    assert main(WORDS) == 0
    text = capsys.readouterr().out
    header = next(line for line in text.splitlines() if "redop" in line)
    names = header.lstrip("#").split()
    assert names == ["size", "count", "type", "redop", "root", *["time", "algbw", "busbw", "#wrong"] * 2]
    rows = rows_of(text)
    assert [row[:5] for row in rows] == [
        [str(size), str(size // 4), "float", "sum", "-1"] for size in (1024, 4096, 16384)
    ]
    for row in rows:
        size, time_us, algbw, busbw = int(row[0]), *map(float, row[5:8])
        assert algbw == pytest.approx(size / time_us * 1e-3, abs=0.01)
        assert busbw == pytest.approx(algbw * 1.5, abs=0.02)
        assert row[8] == row[12] == "N/A"
    assert "# Out of bounds values : N/A" in text
    assert re.search(r"# Avg bus bandwidth    : \d", text)


def test_the_json_has_their_keys(capsys):
    assert main([*WORDS, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"version", "start_time", "args", "env", "nccl_version", "config", "devices", "results"} <= set(document)
    assert [entry["rank"] for entry in document["devices"]] == [0, 1, 2, 3]
    first = document["results"][0]
    assert (first["size"], first["count"], first["type"], first["redop"]) == (1024, 256, "float", "sum")
    assert set(first["out_of_place"]) == set(first["in_place"]) == {"time", "alg_bw", "bus_bw", "nwrong"}
    assert first["in_place"]["nwrong"] is None and document["out_of_bounds"] is None
    assert first["algorithm"] == "ring" and first["why"]


def test_auto_says_why_on_a_comment_line(capsys):
    words = [word if word != "ring" else "auto" for word in WORDS]
    assert main(words) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "next is" in line]
    assert said and all(re.match(r"# \w+/\w+, \d pieces?: .+ slower$", line) for line in said)


def test_a_collective_without_an_in_place_form(capsys):
    assert main(["collective", "all_to_all", "--ranks", "3", "-b", "24", "-e", "24"]) == 0
    (row,) = rows_of(capsys.readouterr().out)
    assert row[3:5] == ["none", "-1"] and row[9:13] == ["N/A"] * 4


@pytest.mark.parametrize("name", ["barrier", "broadcast", "all_gather", "reduce_scatter"])
def test_every_collective_prints(name, capsys):
    assert main(["collective", name, "--ranks", "3", "-b", "4", "-e", "4", "-d", "int32"]) == 0
    (row,) = rows_of(capsys.readouterr().out)
    assert row[2] == "int32" and float(row[5]) > 0


def test_explain_says_what_bounds_each_kind_of_step(capsys):
    words = ["collective", "all_reduce", "--ranks", "4", "--algorithm", "ring", "--protocol", "simple", "--pieces", "1"]
    assert main([*words, "-b", "1K", "-e", "1G", "-f", "1048576", "--explain"]) == 0
    text = capsys.readouterr().out
    small, large = text.split("1073741824")
    assert re.search(r"#   start: 4 of 8.4 us each, a fixed time", small)
    assert re.search(r"#   gather: send: 12 of 3.4\d* us each, latency", small)
    assert re.search(r"#   gather: send: 12 of .* each, gpu0.nvlink.read", large)
    assert re.search(r"#   reduce: 12 of .* each, its own rate", large)


def test_the_fastest_of_some(capsys):
    assert main(["collective", "all_reduce", "--algorithm", "ring,tree", "-b", "8", "-e", "8", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["results"][0]
    assert first["algorithm"] == "tree" and "ring" in first["why"]


def test_a_named_algorithm_that_cannot_run_is_not_left_out_in_silence(capsys):
    words = ["collective", "all_reduce", "--topology", "rtx4090_8", "--ranks", "2", "-b", "8", "-e", "16"]
    assert main([*words, "--algorithm", "in_switch_two_shot,ring"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("# left out:")]
    assert len(said) == 1
    assert "in_switch_two_shot" in said[0] and "reduction: true" in said[0]
    assert main([*words, "--algorithm", "in_switch_two_shot,ring", "--json"]) == 0
    for result in json.loads(capsys.readouterr().out)["results"]:
        assert "reduction: true" in result["left_out"][0]
    assert main([*words, "--algorithm", "auto"]) == 0
    assert "# left out:" not in capsys.readouterr().out


def test_pace_is_for_node_processes(capsys):
    assert main([*WORDS, "--pace", "1000"]) == 2
    assert "add --live" in capsys.readouterr().err


def test_explain_says_what_the_channels_keep_from_other_kernels(capsys):
    words = ["collective", "all_reduce", "-d", "half", "-b", "8M", "-e", "8M", "--algorithm", "nvls", "--explain"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "keep 16 multiprocessors of each rank" in text
    assert re.search(r"#   switch: reduce: \d+ of .* each, .*gpu0.nvlink.total", text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["all_to_all", "--set", "gpu.count=2048"], "4,192,256 flows of 2,048 ranks take 1.56 GiB at 400 B each"),
        (
            ["all_reduce", "--set", "gpu.count=2048", "--explain", "--algorithm", "ring"],
            "4,192,256 transfers in a plan of ring over 2,048 ranks take 11.7 GiB at 3000 B each",
        ),
    ],
)
def test_flows_beyond_the_memory_budget_are_counted_not_built(capsys, words, message):
    assert main(["--memory-budget", "1 GiB", "collective", *words, "-b", "1M", "-e", "1M"]) == 2
    error = capsys.readouterr().err
    assert f"windtunnel: {message}; the limit is 1 GiB; " in error and error.count("\n") == 1


def test_a_live_table_without_end_is_refused_with_its_time(capsys):
    assert main(["collective", "all_reduce", "--live", "-e", "1G"]) == 2
    error = capsys.readouterr().err
    assert "is 34359738240; the limit is 17,179,869,184: this takes at least 16 min at 35 MB/s; " in error


def test_a_long_live_table_says_its_time_before_it_starts():
    assert live_warning("all_reduce", (128 << 20,), 8) == (
        "--live makes, moves and checks 2 GiB: at least 61.4 s at 35 MB/s"
    )
    assert live_warning("all_reduce", (1 << 20,), 8) == ""


def test_flows_that_take_minutes_say_so_before_they_start():
    sizes = tuple(8 << power for power in range(25))
    assert flows_warning("all_to_all", sizes, 4096, True) == (
        "16,773,120 flows of 4,096 ranks for each of 25 sizes: about 21 min at 3 us a flow, and 6.25 GiB of memory"
    )
    assert flows_warning("all_to_all", sizes[:1], 1024, True) == ""
    assert flows_warning("all_reduce", sizes, 4096, True) == ""
