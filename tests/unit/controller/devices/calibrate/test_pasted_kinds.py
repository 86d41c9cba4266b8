"""Other versions, options and shares of a machine than the first example of each tool."""

import json

import pytest

from controller.cli.main import main
from controller.devices.calibrate.pasted import other_device, read_pasted
from controller.errors import BadMeasurements
from node.hardware.catalog import load_product

HEAD = "#   size     count  type  redop  root  time  algbw  busbw #wrong  time  algbw  busbw #wrong"
ROW = "  1073741824   268435456   float   sum    -1   6128.0  175.22  306.63   0   6130.0  175.16  306.53   0"


def constants(text: str) -> dict[str, str]:
    return {each.path: each.text for each in read_pasted(text, "p.txt")[1]}


def complaint(text: str) -> str:
    with pytest.raises(BadMeasurements) as caught:
        read_pasted(text, "p.txt")
    return str(caught.value)


def calibrated(tmp_path, capsys, device: str, text: str) -> tuple[int, str, str]:
    (tmp_path / "p.txt").write_text(text)
    status = main(["calibrate", "--device", device, "--pasted", str(tmp_path / "p.txt"), "--date", "2024-01-01"])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


MLC = "Intel(R) Memory Latency Checker - v3.10\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Each iteration took 150.6 core clocks ( 75.3\tns)\n", {"dram.read_latency": "75.3 ns"}),
        (
            "Measuring Loaded Latencies for the system\nUsing Read-only traffic type\nInject\tLatency\tBandwidth\n"
            "Delay\t(ns)\tMB/sec\n==========================\n 00000\t130.31\t 135655.9\n 20000\t 81.96\t   1237.6\n",
            {"dram.read": "135655.9 MB/s", "dram.read_latency": "81.96 ns"},
        ),
        # Memory without processors (node 2, an expander) has a column and no row.
        (
            "Measuring idle latencies (in ns)...\n\t\tNuma node\nNuma node\t 0\t 1\t 2\n 0\t 110.0\t 190.0\t 260.0\n"
            " 1\t 190.0\t 112.0\t 330.0\nMeasuring Memory Bandwidths between nodes within system\n\t\tNuma node\n"
            "Numa node\t 0\t 1\t 2\n 0\t 240000.0\t 100000.0\t 30000.0\n 1\t 100000.0\t 242000.0\t 20000.0\n",
            {
                "dram.read": "241000.0 MB/s",
                "dram.read_latency": "111 ns",
                "cxl.read": "30000 MB/s",
                "cxl.read_latency": "260 ns",
            },
        ),
        # Version 3.0 calls nodes sockets.
        (
            "Measuring idle latencies (in ns)...\n        Memory node\n Socket      0       1\n     0    67.5   125.2\n"
            "     1   126.5    68.5\nALL Reads        :      120000.0\n",
            {"dram.read": "60000.0 MB/s", "dram.read_latency": "68 ns"},
        ),
    ],
)
def test_mlc_of_other_options(text, expected):
    assert constants(MLC + text) == expected


def test_loads_that_also_write_tell_no_rate_of_reads():
    text = f"{MLC}Measuring Loaded Latencies for the system\nUsing traffic type W5\n 00000 130.31 135655.9\n"
    assert "no figure in it that tells a constant" in complaint(text)


def test_mlc_that_does_not_say_its_sockets_is_said_to(tmp_path, capsys):
    status, text, said = calibrated(tmp_path, capsys, "xeon_8480", f"{MLC}ALL Reads        :\t225630.8\n")
    assert status == 0 and "does not say how many sockets it has" in said
    assert "sockets it has" in text  # in the source of the constant, too


def test_nvbandwidth_without_its_first_lines_is_named_by_its_sum():
    text = (
        "memcpy CE GPU(row) -> GPU(column) bandwidth (GB/s)\n           0         1\n 0       N/A    246.34\n"
        " 1    246.35       N/A\n\nSUM device_to_device_memcpy_read_ce 492.69\n"
    )
    assert constants(text) == {"nvlink.read": "246.35 GB/s"}


def test_copies_with_the_host_are_those_of_the_nearest_processor():
    text = (
        "nvbandwidth Version: v0.6\nRunning host_to_device_memcpy_ce.\n"
        "memcpy CE CPU(row) -> GPU(column) bandwidth (GB/s)\n           0         1\n"
        " 0     55.00     30.00\n 1     31.00     54.00\n\nSUM host_to_device_memcpy_ce 170.00\n"
    )
    assert constants(text) == {"pcie.write": "55 GB/s"}


def test_nvbandwidth_of_several_nodes():
    text = (
        "nvbandwidth Version: v0.8\nRunning multinode_device_to_device_memcpy_read_ce.\n"
        "memcpy CE GPU(row) <- GPU(column) bandwidth (GB/s)\n           0         1\n 0       N/A    797.68\n"
        " 1    797.65       N/A\n"
    )
    assert constants(text) == {"nvlink.read": "797.68 GB/s"}


def test_pairs_that_copy_over_pcie_are_no_nvlink(tmp_path, capsys):
    text = (
        "nvbandwidth Version: v0.8\nRunning device_to_device_memcpy_read_ce.\n           0         1\n"
        " 0       N/A     26.34\n 1     26.35       N/A\n"
    )
    status, _, said = calibrated(tmp_path, capsys, "rtx_a6000", text)
    assert status == 2 and "less than half of the" in said and "of PCIe or of a few of its links" in said
    with_host = f"{text}Running host_to_device_memcpy_ce.\n           0         1\n 0     25.50     25.70\n"
    status, made, said = calibrated(tmp_path, capsys, "l40s", with_host)
    assert status == 0 and "left out: p.txt: nvlink.read = 26.35 GB/s: l40s has no nvlink" in said
    assert made.startswith("pcie.write = 25.7 GB/s\n")
    status, _, said = calibrated(tmp_path, capsys, "l40s", text)
    assert status == 2 and "l40s has no nvlink" in said


@pytest.mark.parametrize(
    "row",
    [
        ROW.replace("float   sum", "half   avg"),
        ROW.replace("float   sum", "bfloat16   sum"),
        ROW.replace("306.53   0", "306.53   N/A"),
        f"[0]{ROW}".replace("-1   6128.0", "-1[0]   6128.0"),
    ],
)
def test_rows_of_other_types_and_launchers(row):
    assert constants(f"{HEAD}\n{row}")["nvlink.read"] == "306.63 GB/s"


def test_headings_whose_mark_a_page_has_eaten():
    text = (
        "nThread 1 nGpus 8 minBytes 8 maxBytes 8589934592\n Using devices\n"
        "   Rank  0 Pid 1 on nodea device  0 [0x00] NVIDIA A100-SXM4-40GB\n"
        "   Rank  1 Pid 2 on nodeb device  0 [0x00] NVIDIA A100-SXM4-40GB\n"
        f"       out-of-place   in-place\n{HEAD[1:]}\n{ROW}\n"
    )
    assert "on 2 hosts (nodea, nodeb)" in complaint(text)
    assert constants(text.replace("nodeb", "nodea"))["nvlink.read"] == "306.63 GB/s"


def test_hosts_of_the_json_of_nccl_tests():
    devices = [{"rank": 0, "hostname": "a"}, {"rank": 8, "hostname": "b"}]
    rows = [{"size": 1 << 30, "out_of_place": {"bus_bw": 48.0}}]
    assert "on 2 hosts" in complaint(json.dumps({"devices": devices, "results": rows}))


def test_an_all_reduce_that_switches_may_add_up_is_said_to(tmp_path, capsys):
    rank = "#  Rank  0 Group  0 Pid 1 on node device  0 [0x0c] NVIDIA H100 80GB HBM3\n"
    _, _, said = calibrated(tmp_path, capsys, "h100_sxm", f"{rank}{HEAD}\n{ROW}")
    assert "switches add up (NVLS" in said
    _, _, said = calibrated(tmp_path, capsys, "h100_sxm", f"NCCL_ALGO=Ring\n{rank}{HEAD}\n{ROW}")
    assert "NVLS" not in said
    _, _, said = calibrated(tmp_path, capsys, "h100_sxm", f"NCCL_ALGO=Ring\n{HEAD}\n{ROW}")
    assert "names no ranks" in said


@pytest.mark.parametrize(
    ("name", "device", "other"),
    [
        ("NVIDIA H100 80GB HBM3", "h100_sxm", False),
        ("NVIDIA H100 PCIe", "h100_sxm", True),
        ("NVIDIA H20", "h200_sxm", True),
        ("NVIDIA H200", "h20", True),
        ("NVIDIA A100-SXM4-80GB", "a100_sxm_80", False),
        ("AMD Instinct MI300X", "mi300x", False),
    ],
)
def test_other_products_are_told_apart(name, device, other):
    text = f"#  Rank  0 Pid 1 on node device  0 [0x0c] {name}\n{HEAD}\n{ROW}"
    assert bool(other_device(text, load_product(device))) is other


def test_terse_output_of_fio_says_too_little():
    assert "terse output of fio" in complaint("3;fio-3.28;seqread;0;0;104857600;6700000;52000;15650;1;2;3")


def test_fio_prints_text_behind_its_json():
    job = {"groupid": 0, "read": {"bw_bytes": 1_700_000_000}, "write": {"bw_bytes": 0}, "error": 0}
    whole = {"fio version": "fio-3.35", "global options": {"rw": "read", "bs": "1M", "iodepth": "32"}, "jobs": [job]}
    text = json.dumps({**whole, "disk_util": [{"name": "nvme0n1"}]})
    assert constants(f"{text}\nseqread: (g=0): rw=read\n") == {"flash.read": "1700 MB/s"}
    several = {**whole, "disk_util": [{"name": "nvme0n1"}, {"name": "nvme1n1"}]}
    assert "over 2 drives (nvme0n1, nvme1n1)" in complaint(json.dumps(several))
    assert "a job ended with error 5" in complaint(json.dumps({**whole, "jobs": [{**job, "error": 5}]}))


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ("Function    Best Rate MB/s\nCopy:          170000.0     0.01\nTriad:  160000 0.01\n", "STREAM"),
        ("# OSU MPI-CUDA Bandwidth Test v7.3\n# Size      Bandwidth (MB/s)\n1   1.2\n", "the OSU micro-benchmarks"),
        ("                    RDMA_Write BW Test\n Dual-port : OFF\n", "perftest"),
        ("[P2P (Peer-to-Peer) GPU Bandwidth Latency Test]\n", "p2pBandwidthLatencyTest"),
        ("104857600 bytes (105 MB, 100 MiB) copied, 0.1 s, 1.0 GB/s\n", "dd"),
    ],
)
def test_what_other_tools_print_is_refused_by_their_name(text, tool):
    found = complaint(text)
    assert f"output of {tool}" in found and "nvbandwidth, nccl-tests, fio, Intel MLC" in found
