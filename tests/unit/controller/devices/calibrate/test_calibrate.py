"""Fits give back what made the data, pasted output becomes constants, and the sheet can be used."""

import json

import pytest

from controller.cli.main import main
from controller.devices.calibrate.pasted import read_pasted
from controller.devices.calibrate.split import is_fitted
from controller.devices.predict.ask import QUESTIONS
from controller.errors import BadMeasurements
from node.hardware.catalog import apply_overrides, load_product

NVBANDWIDTH = """nvbandwidth Version: v0.8
Running host_to_device_memcpy_ce.
memcpy CE CPU(row) -> GPU(column) bandwidth (GB/s)
           0         1
 0     55.10     55.60

SUM host_to_device_memcpy_ce 110.70

Running device_to_device_memcpy_read_ce.
memcpy CE GPU(row) -> GPU(column) bandwidth (GB/s)
           0         1
 0       N/A    392.10
 1    395.00       N/A
"""
NCCL = """# nThread 1 nGpus 8 minBytes 8 maxBytes 8589934592 step: 2(factor)
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
           8             2     float     sum      -1    35.12    0.00    0.00      0    35.00    0.00    0.00      0
  8589934592    2147483648     float     sum      -1  41234.5  208.32  364.55      0  41200.1  208.49  364.86      0
"""
FIO = """job: (g=0): rw=read, bs=(R) 128KiB-128KiB, ioengine=io_uring, iodepth=32
  read: IOPS=52.1k, BW=6511MiB/s (6827MB/s)(191GiB/30001msec)
    slat (usec): min=2, max=99, avg= 4.10, stdev= 1.20
    clat (usec): min=60, max=9000, avg=600.10, stdev=99.00
     lat (usec): min=70, max=9010, avg=604.20, stdev=99.10
"""
MLC = """Intel(R) Memory Latency Checker - v3.9
Each iteration took 218.1 base frequency clocks (       80.8    ns)
ALL Reads        :      215733.9
1:1 Reads-Writes :      149911.3
"""


def test_about_half_of_the_shapes_are_fitted_and_columns_that_may_be_absent_do_not_matter():
    shapes = [{"m": m, "n": n, "k": 4096} for m in range(1, 60) for n in range(64, 4096, 64)]
    share = sum(map(is_fitted, shapes)) / len(shapes)
    assert 0.45 < share < 0.55
    assert all(is_fitted(shape) == is_fitted({**shape, "copies": 0}) for shape in shapes[:100])


@pytest.fixture
def made(tmp_path):
    """A file of products as the models would measure them on an A100 of other efficiency."""
    true = {"tensor.gemm_efficiency": "0.8", "tensor.memory_efficiency": "0.75"}
    spec, gemm = apply_overrides(load_product("a100_sxm_80"), true), QUESTIONS["gemm"]
    lines = ["m,n,k,latency_us"]
    for m in (1, 16, 128, 512, 2048, 8192):
        for n in (1024, 3072, 8192):
            for k in (1024, 4096, 8192):
                time = gemm.answer(spec, "bf16", gemm.complete({"m": m, "n": n, "k": k})).time_s
                lines.append(f"{m},{n},{k},{time * 1e6:.6f}")
    path = tmp_path / "a100_sxm_gemm_bf16.csv"
    path.write_text("\n".join(lines) + "\n5,5,5,-1\n")
    return path


def test_a_fit_finds_what_made_the_data_and_the_sheet_holds_on_what_it_left_out(made, tmp_path, capsys):
    arguments = [
        "calibrate",
        "--device",
        "a100_sxm",
        "--data",
        str(made),
        "--product",
        "my_a100",
        "--date",
        "2025-10-01",
    ]
    assert main([*arguments, "--out", str(tmp_path / "sheets"), "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert float(document["constants"]["tensor.gemm_efficiency"]) == pytest.approx(0.8, rel=0.05)
    assert float(document["constants"]["tensor.memory_efficiency"]) == pytest.approx(0.75, rel=0.05)
    (fit,) = document["fits"]
    assert fit["left_out"]["median"] < 0.02 < fit["before"]["median"]
    assert fit["left_out"]["rows"] + fit["fitted"]["rows"] == 54
    assert "a100_sxm_gemm_bf16.csv:56" in captured.err
    spec = load_product("my_a100", [tmp_path / "sheets"])
    constant = spec.constants["tensor.gemm_efficiency"]
    assert constant.kind == "measured"
    assert "2025-10-01" in constant.source
    assert "a100_sxm_gemm_bf16.csv" in constant.source


@pytest.mark.parametrize(
    ("text", "tool", "constants"),
    [
        (NVBANDWIDTH, "nvbandwidth", {"pcie.write": "55.6 GB/s", "nvlink.read": "395 GB/s"}),
        (NCCL, "nccl-tests", {"nvlink.read": "364.55 GB/s", "nvlink.write": "364.55 GB/s"}),
        (FIO, "fio", {"flash.read": "6827 MB/s"}),
        (FIO.replace("iodepth=32", "iodepth=1"), "fio", {"flash.read_latency": "604.2 us"}),
        (
            MLC,
            "Intel MLC",
            {"dram.read": "215733.9 MB/s", "dram.write": "149911.3 MB/s", "dram.read_latency": "80.8 ns"},
        ),
    ],
)
def test_pasted_output_becomes_constants(text, tool, constants):
    found_tool, found = read_pasted(text)
    assert found_tool == tool
    assert {each.path: each.text for each in found} == constants


def test_other_text_is_refused():
    with pytest.raises(BadMeasurements, match="not the output of"):
        read_pasted("it was quite fast")
    with pytest.raises(BadMeasurements, match="no figure"):
        read_pasted("nvbandwidth Version: v0.8\n")


def test_pasted_constants_go_into_the_sheet(tmp_path, capsys):
    paste = tmp_path / "fio.txt"
    paste.write_text(FIO)
    assert main(["calibrate", "--device", "pm9a3", "--pasted", str(paste), "--out", str(tmp_path)]) == 0
    spec = load_product("pm9a3_calibrated", [tmp_path])
    assert spec.tiers["flash"].read_bytes_per_s == 6827e6
    assert "fio" in spec.constants["flash.read"].source


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give measurements"),
        (["--pasted", "PASTE"], "has no dram"),
        (["--data", "PASTE"], "says no table"),
        (["--pasted", "PASTE", "--date", "yesterday"], "YYYY-MM-DD"),
    ],
)
def test_what_cannot_be_calibrated_says_why(tmp_path, arguments, message, capsys):
    paste = tmp_path / "mlc.txt"
    paste.write_text(MLC)
    words = [str(paste) if word == "PASTE" else word for word in arguments]
    assert main(["calibrate", "--device", "pm9a3", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a b/../x", "", "../up", ".hidden"])
def test_a_product_that_is_no_file_name_is_refused(name, tmp_path, capsys):
    (tmp_path / "nccl.txt").write_text(NCCL)
    out = tmp_path / "sheets"
    arguments = ["calibrate", "--device", "h100_sxm", "--pasted", str(tmp_path / "nccl.txt"), "--out", str(out)]
    status = main([*arguments, f"--product={name}"])
    captured = capsys.readouterr()
    if name:
        assert status == 2
        assert "cannot be the name of a sheet" in captured.err
        assert not out.exists()
    else:
        assert status == 0
        assert (out / "h100_sxm_calibrated.yaml").is_file()


def test_rows_of_another_device_are_said_to_be(made, capsys):
    assert main(["calibrate", "--device", "h100_sxm", "--data", str(made)]) == 0
    assert "named after a100_sxm_80; its rows are fitted to the sheet of h100_sxm" in capsys.readouterr().err
    assert main(["calibrate", "--device", "a100_sxm", "--data", str(made)]) == 0
    assert "named after" not in capsys.readouterr().err


def test_rows_that_a_fit_cannot_use_are_named(tmp_path, capsys):
    path = tmp_path / "l40s_gemm_bf16.csv"
    path.write_text("m,n,k,latency_us\n128,4096,4096,-20\n256,4096,4096,60\n")
    assert main(["calibrate", "--device", "l40s", "--data", str(path)]) == 2
    complaint = capsys.readouterr().err
    assert "1 rows can be used" in complaint
    assert "1 cannot, the first is l40s_gemm_bf16.csv:2: latency_us is -20" in complaint
