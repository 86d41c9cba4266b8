"""Options of the tools under which the same lines mean another thing, and outputs that tell no constant."""

import json

import pytest

from controller.cli.main import main
from controller.devices.calibrate.pasted import other_device, read_pasted
from controller.errors import BadMeasurements
from node.hardware.catalog import load_product

NVBANDWIDTH = "nvbandwidth Version: v0.6\n"
MLC = "Intel(R) Memory Latency Checker - v3.11\n"
RATES = "Measuring Memory Bandwidths between nodes within system\n"
WITH_EXPANDER = (
    f"{MLC}Measuring idle latencies for random access (in ns)...\n\t\tNuma node\nNuma node\t 0\t 1\t 2\n"
    f" 0\t 110.6\t 198.3\t 260.1\n 1\t 198.9\t 111.8\t 412.0\n{RATES}Using Read-only traffic type\n\t\tNuma node\n"
    "Numa node\t 0\t 1\t 2\n 0\t 240812.4\t 120322.4\t 22110.0\n 1\t 120422.4\t 241002.7\t 11021.7\n"
)


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


def copies(test: str, *cells: float) -> str:
    numbers = "  ".join(str(number) for number in range(len(cells)))
    row = "  ".join(f"{cell:.2f}" for cell in cells)
    return f"Running {test}.\nmemcpy CPU(row) -> GPU(column) bandwidth (GB/s)\n     {numbers}\n 0   {row}\n\n"


def test_copies_by_kernels_speak_where_copy_engines_do_not():
    kernels = copies("host_to_device_memcpy_sm", 52.1) + copies("device_to_host_memcpy_sm", 53.1)
    assert constants(NVBANDWIDTH + kernels) == {"pcie.write": "52.1 GB/s", "pcie.read": "53.1 GB/s"}
    both = kernels + copies("host_to_device_memcpy_ce", 55.2)
    assert constants(NVBANDWIDTH + both) == {"pcie.write": "55.2 GB/s", "pcie.read": "53.1 GB/s"}


def test_copies_of_both_directions_tell_no_rate_and_what_to_run_is_said():
    said = complaint(NVBANDWIDTH + copies("host_to_device_bidirectional_memcpy_ce", 42.2))
    assert "no figure of one direction between two ends in it (its tests: host_to_device_bidirectional_" in said
    assert "run it with -t host_to_device_memcpy_ce" in said


def test_a_failed_test_of_nvbandwidth_is_refused_and_a_waived_one_is_not():
    case = {"name": "host_to_device_memcpy_ce", "status": "Passed", "bandwidth_matrix": [["55.6", "55.1"]]}
    waived = {"name": "device_to_device_memcpy_read_ce", "status": "Waived"}
    failed = {**case, "name": "device_to_host_memcpy_ce", "status": "Error: failed verification"}
    inner = {"GPU Device list": ["0: NVIDIA A100-SXM4-80GB: (00000000:0f:00)"], "testcases": [case, waived]}
    text = json.dumps({"nvbandwidth": inner}, indent=1)
    assert constants(text) == {"pcie.write": "55.6 GB/s"}
    assert other_device(text, load_product("h100_sxm")) == "NVIDIA A100-SXM4-80GB"
    text = json.dumps({"nvbandwidth": {"testcases": [case, failed]}})
    assert "the test device_to_host_memcpy_ce ended with 'Error: failed verification'" in complaint(text)


def test_copies_with_the_host_go_over_the_port_that_the_product_has(tmp_path, capsys):
    text = NVBANDWIDTH + copies("host_to_device_memcpy_ce", 373.4) + copies("device_to_host_memcpy_ce", 297.31)
    status, out, _ = calibrated(tmp_path, capsys, "gh200", text)
    assert status == 0 and "c2c.write = 373.4 GB/s" in out and "c2c.read = 297.31 GB/s" in out


def test_memory_without_processors_is_an_expander(tmp_path, capsys):
    status, out, said = calibrated(tmp_path, capsys, "cxl_aic", WITH_EXPANDER)
    assert status == 0 and "cxl.read = 22110 MB/s" in out and "cxl.read_latency = 260.1 ns" in out
    assert "left out: p.txt: dram.read = 240907.5 MB/s: cxl_aic has no dram" in said
    status, out, said = calibrated(tmp_path, capsys, "xeon_8480", WITH_EXPANDER)
    assert status == 0 and "dram.read = 240907.5 MB/s" in out and "cxl.read = 22110 MB/s: xeon_8480 has no" in said


@pytest.mark.parametrize(
    "text",
    [
        f"{RATES}Using traffic type of 2:1 reads-writes\n\t\tNuma node\nNuma node\t 0\n 0\t 210812.4\n",
        "Measuring cache-to-cache transfer latency (in ns)...\nLocal Socket L2->L2 HIT  latency\t49.8\n",
    ],
)
def test_mlc_of_mixed_traffic_or_of_caches_tells_no_rate_of_reads(text):
    assert "paste mlc --bandwidth_matrix" in complaint(MLC + text)


def test_mlc_that_was_bound_to_a_node_is_asked_about(tmp_path, capsys):
    text = f"{MLC}Command line parameters: --idle_latency -c0 -j2\nEach iteration took 572.7 clocks (\t260.3\tns)\n"
    status, out, said = calibrated(tmp_path, capsys, "xeon_8480", text)
    assert status == 0 and "dram.read_latency = 260.3 ns" in out and "-j2 was given" in said


def test_one_socket_of_a_sheet_of_two_is_said_to_be_slow(tmp_path, capsys):
    text = f"{MLC}{RATES}\t\tNuma node\nNuma node\t 0\t 1\n 0\t 150000.0\t 60000.0\n 1\t 60000.0\t 152000.0\n"
    _, _, said = calibrated(tmp_path, capsys, "xeon_5320_2s", text)
    assert "dram.read = 151000.0 MB/s is less than half of the 375.4 GB/s of xeon_5320_2s" in said
    _, _, said = calibrated(tmp_path, capsys, "xeon_8480", text.replace("15", "25"))
    assert said == ""


def test_older_rccl_is_known_by_its_slots():
    text = (
        "#   Rank  0 Pid   5020 on       node device  0 [0000:c1:00.0] \n"
        "#   Rank  1 Pid   5020 on       node device  1 [0000:c6:00.0] \n"
        "#       size         count    type   redop     time   algbw   busbw  error     time   algbw   busbw  error\n"
        "   134217728      33554432   float     sum    700.3  191.65  335.40  1e-06    700.0  191.74  335.54  1e-06\n"
    )
    assert constants(text) == {"xgmi.read": "335.4 GB/s", "xgmi.write": "335.4 GB/s"}


@pytest.mark.parametrize(
    ("text", "tool", "advice"),
    [
        ("BabelStream\nVersion: 4.0\nCopy        3052345.1 0.0001\n", "BabelStream", "-t device_local_copy"),
        ("bandwidthTest-H2D-Pinned, Bandwidth = 12.1 GB/s, Time = 1 s\n", "bandwidthTest", "host_to_device_memcpy_ce"),
        ('{"test_info": {"test": "RDMA_Write_BW"}}\n', "perftest (ib_write_bw)", "nic.read is its BW average"),
        ("rc_bw:\n    bw  =  12.3 GB/sec\n", "qperf", "a sheet of your own"),
        (
            "Function    Best Rate MB/s\nCopy:          205012.5     0.03\n",
            "STREAM",
            "Intel MLC with --bandwidth_matrix",
        ),
    ],
)
def test_a_refusal_says_what_to_run_instead(text, tool, advice):
    said = complaint(text)
    assert f"the output of {tool} is not read" in said and advice in said


def test_other_units_are_refused():
    text = f"{MLC}Bandwidths are in GB/sec (1 GB/sec = 1,000,000,000 Bytes/sec)\nALL Reads        :\t280.8\n"
    assert "the figures are in GB/sec, and only MB/sec is read" in complaint(text)
    gibi = copies("host_to_device_memcpy_ce", 51.5).replace("(GB/s)", "(GiB/s)")
    assert "the figures are in GiB/s, and only GB/s is read" in complaint(NVBANDWIDTH + gibi)


def test_the_latency_of_a_cache_is_not_that_of_memory(tmp_path, capsys):
    text = f"{MLC}Each iteration took 10.8 core clocks (\t5.4\tns)\n"
    status, _, said = calibrated(tmp_path, capsys, "xeon_8480", text)
    assert status == 2 and "dram.read_latency = 5.4 ns" in said and "so it is of a cache" in said
