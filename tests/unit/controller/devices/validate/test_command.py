"""``windtunnel validate`` and ``predict``: output, exit codes, and that no row is lost."""

import csv
import io
import json

import pytest

from controller.cli.main import main

HEADER = "m,n,k,latency_us\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "h100_sxm_gemm_bf16.csv").write_text(HEADER + "128,4096,4096,16.1\n129,4096,4096,18.3\n1,1,1,-2\n")
    (tmp_path / "moe_dispatch.csv").write_text("a\n1\n")
    return tmp_path


def test_json_is_an_array_of_slices(folder, capsys):
    assert main(["validate", "--data", str(folder), "--json"]) == 0
    captured = capsys.readouterr()
    parts = json.loads(captured.out)
    keys = ["file", "device", "table", "slice", "rows", "dropped", "median", "p90", "bias", "repeatability"]
    assert all(list(part) == keys for part in parts)
    assert (parts[0]["slice"], parts[0]["rows"], parts[0]["dropped"]) == ("all", 2, 1)
    assert "h100_sxm_gemm_bf16.csv:4: latency_us is -2" in captured.err
    assert "2 of 4 rows left out" in captured.err


def test_a_wrong_file_fails_and_the_others_are_shown(folder, capsys):
    (folder / "h100_gemm_bf16.csv").write_text("m,n,latency_us\n1,2,3\n")
    assert main(["validate", "--data", str(folder)]) == 2
    captured = capsys.readouterr()
    assert "h100_gemm_bf16.csv:1: column 'k' is missing" in captured.err
    assert "worst rows" in captured.out
    assert "Traceback" not in captured.err


def test_markdown_has_one_line_a_file(folder, capsys):
    assert main(["validate", "--data", str(folder), "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| h100_sxm | gemm_bf16 | 2 | 1 |")


def test_an_empty_folder_is_an_error(tmp_path, capsys):
    assert main(["validate", "--data", str(tmp_path)]) == 2
    assert "holds no .csv" in capsys.readouterr().err


@pytest.mark.parametrize("text", [HEADER, HEADER + "1,1,1,-2\n", HEADER + "64,64\n"])
def test_a_comparison_of_nothing_is_an_error(text, tmp_path, capsys):
    path = tmp_path / "h100_sxm_gemm_bf16.csv"
    path.write_text(text)
    assert main(["validate", "--data", str(path)]) == 2
    captured = capsys.readouterr()
    assert "no row could be compared" in captured.err
    assert "rows left out, in 1 files" in captured.err
    assert "worst rows" not in captured.out


def test_one_shape(capsys):
    assert main(["predict", "gemm", "--device", "b200_sxm", "-m", "4096", "-n", "8192", "-k", "8192", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["bound"] in answer["parts_s"]
    assert answer["time_s"] >= 2 * 4096 * 8192 * 8192 / 2250e12
    assert answer["model_us"] == pytest.approx(answer["time_s"] * 1e6)


@pytest.mark.parametrize(
    "arguments",
    [
        [
            "decode_attention",
            "--device",
            "h100",
            "--batch",
            "8",
            "--tokens",
            "4096",
            "--heads",
            "32",
            "--kv-heads",
            "8",
        ],
        ["prefill_attention", "--device", "A100-SXM4-80GB", "--isl", "1024", "--num-heads", "32"],
        ["copy", "--device", "h100_sxm", "--bytes", "1048576"],
        ["drive", "--device", "pm9a3", "--bytes", "4096", "--depth", "32"],
        ["memory", "--device", "l40s", "--bytes", "1073741824"],
        ["rms_norm", "--device", "rtx_4090", "--rows", "4096", "-n", "8192"],
        ["embedding", "--device", "a10", "--tokens", "512", "-n", "4096"],
        ["top_k", "--device", "h20", "--rows", "8", "--vocab", "128000", "-k", "50"],
        ["adam", "--device", "xeon_8480", "--params", "1000000"],
        ["p2p_read", "--device", "smartssd", "--buffer-KB", "64"],
    ],
)
def test_every_question_is_answered(arguments, capsys):
    assert main(["predict", *arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["time_s"] > 0
    assert main(["predict", *arguments]) == 0
    assert "set by" in capsys.readouterr().out


def test_a_file_of_shapes_comes_back_with_a_column(tmp_path, capsys):
    path = tmp_path / "shapes.csv"
    path.write_text("name,m,n,k\nq,128,4096,4096\nbad,0,1,1\no,4096,4096,4096\n")
    assert main(["predict", "gemm", "--device", "h100_sxm", str(path)]) == 2
    captured = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(captured.out)))
    assert [row["name"] for row in rows] == ["q", "bad", "o"]
    assert float(rows[0]["model_us"]) == pytest.approx(16.1, rel=0.1)
    assert rows[1]["model_us"] == ""
    assert "shapes.csv:3: m is 0" in captured.err


def test_a_file_of_shapes_as_json_has_numbers(tmp_path, capsys):
    path = tmp_path / "shapes.csv"
    path.write_text("name,m,n,k\nq,128,4096,4096\nbad,0,1,1\nshort,1\n")
    assert main(["predict", "gemm", "--device", "h100_sxm", str(path), "--json"]) == 2
    captured = capsys.readouterr()
    first, bad = json.loads(captured.out)
    assert (first["name"], first["m"]) == ("q", 128)
    assert isinstance(first["model_us"], float)
    assert bad["model_us"] is None
    assert "2 of 3 rows have no model_us" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gemm", "--device", "b201_sxm", "-m", "1", "-n", "1", "-k", "1"], "no device 'b201_sxm'"),
        (["gemm", "--device", "h100_sxm", "-m", "1", "-n", "1"], "needs k"),
        (["gemm", "--device", "h100_sxm", "-m", "1", "-n", "1", "-k", "1", "--dtype", "bf17"], "dtype is 'bf17'"),
        (["gem", "--device", "h100_sxm"], "did you mean 'gemm'"),
        (["drive", "--device", "h100_sxm", "--bytes", "1"], "has no flash"),
        (["gemm", "--device", "pm9a3", "-m", "1", "-n", "1", "-k", "1"], "no compute unit"),
    ],
)
def test_what_cannot_be_asked_says_why(arguments, message, capsys):
    assert main(["predict", *arguments]) == 2
    assert message in capsys.readouterr().err


README = """Words before.

Repeatability of the tables themselves: the same GPU measured again moves by 1.0 % (median) and 4.4 % (p90) on H100
GEMM, and another software stack by 2.6-4.7 % and 9-26 %. A gain smaller than that is noise.
"""


def test_repeatability_stands_beside_the_tables_that_the_readme_states_it_of(tmp_path, capsys):
    for name in ("h100_sxm_gemm_bf16", "h100_sxm_decode_attention_bf16", "a100_sxm_gemm_bf16"):
        (tmp_path / f"{name}.csv").write_text("m,n,k,latency_us\n4096,4096,4096,250\n")
    (tmp_path / "README.md").write_text(README)
    main(["validate", "--data", str(tmp_path), "--worst", "0"])
    printed = capsys.readouterr().out
    assert printed.count("repeatability:") == 1
    assert "moves by 1.0% (median) and 4.4% (p90), another software stack by 2.6% to 4.7% and 9.0% to 26.0%" in printed
    assert "(README.md:3)" in printed
    main(["validate", "--data", str(tmp_path), "--markdown"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[-2].strip() for line in lines if "gemm" in line] == ["-", "1.0 %, 4.4 %"]
    main(["validate", "--data", str(tmp_path / "h100_sxm_gemm_bf16.csv"), "--json"])
    assert json.loads(capsys.readouterr().out)[0]["repeatability"]["p90"] == pytest.approx(0.044)
    (tmp_path / "README.md").write_text("Nothing of the kind.")
    main(["validate", "--data", str(tmp_path), "--worst", "0"])
    assert "repeatability" not in capsys.readouterr().out
