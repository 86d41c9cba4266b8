"""Pasted output lands on the right constant of one device, whatever its version, launcher and share of a machine."""

import json
from pathlib import Path

import pytest

from controller.cli.main import main
from controller.devices.calibrate.pasted import read_pasted
from controller.errors import BadMeasurements

PASTED = Path(__file__).parents[4] / "fixtures" / "pasted"
HEAD = "#   size     count  type  redop  root  time  algbw  busbw #wrong  time  algbw  busbw #wrong"
ROW = "  1073741824   268435456   float   sum    -1   6128.0  175.22  306.63   0   6130.0  175.16  306.53   0"
STATUS = "Run status group 0 (all jobs):\n"


def constants(text: str) -> dict[str, str]:
    return {each.path: each.text for each in read_pasted(text, "p.txt")[1]}


def complaint(text: str) -> str:
    with pytest.raises(BadMeasurements) as caught:
        read_pasted(text, "p.txt")
    return str(caught.value)


def calibrated(device: str, path: Path, capsys) -> tuple[int, str]:
    status = main(["calibrate", "--device", device, "--pasted", str(path), "--date", "2024-01-01"])
    captured = capsys.readouterr()
    return status, captured.out if status == 0 else captured.err


def test_mlc_of_two_sockets_gives_one(capsys):
    status, text = calibrated("xeon_8480", PASTED / "mlc_two_sockets.txt", capsys)
    assert status == 0
    # The diagonals: (254902.1 + 254311.7) / 2, (105.1 + 104.8) / 2; of 1:1 half of 428841.7.
    assert text.splitlines()[:3] == [
        "dram.read = 254606.9 MB/s",
        "dram.write = 214420.9 MB/s",
        "dram.read_latency = 104.9 ns",
    ]


def test_mlc_of_two_sockets_without_its_matrix_is_refused(tmp_path, capsys):
    whole = (PASTED / "mlc_two_sockets.txt").read_text()
    (tmp_path / "mlc.txt").write_text(whole[whole.index("ALL Reads") : whole.index("Measuring Memory")])
    status, text = calibrated("xeon_8480", tmp_path / "mlc.txt", capsys)
    assert status == 2
    assert "exceeds the 307.2 GB/s of one xeon_8480" in text and "several sockets" in text


def test_nodes_of_one_socket_are_added_up():
    matrix = "\t\tNuma node\nNuma node\t 0\t 1\n 0\t 100.0\t 112.0\n 1\t 112.0\t 100.0\n"
    latencies = f"Measuring idle latencies (in ns)...\n{matrix}"
    text = f"Intel(R) Memory Latency Checker - v3.10\n{latencies}\nALL Reads        :\t240000.0\n"
    assert constants(text) == {"dram.read": "240000.0 MB/s", "dram.read_latency": "100 ns"}


def test_fio_counts_all_jobs(capsys):
    status, text = calibrated("pm9a3", PASTED / "fio_four_jobs.txt", capsys)
    assert status == 0 and text.splitlines()[0] == "flash.read = 6868 MB/s"
    cut = (PASTED / "fio_four_jobs.txt").read_text().partition("Run status")[0]
    assert constants(cut) == {"flash.read": "6868 MB/s"}  # 4 x 1717
    assert "4 jobs ran and 2 are reported" in complaint(
        cut.partition("seqread: (groupid=0, jobs=1): err= 0: pid=13")[0]
    )


def test_fio_2_writes_mega_and_means_mebi():
    text = (
        "seqread: (g=0): rw=read, bs=1M-1M/1M-1M/1M-1M, ioengine=libaio, iodepth=32\nfio-2.21\n"
        "seqread: (groupid=0, jobs=1): err= 0: pid=7\n"
        "  read : io=98304MB, bw=3200.0MB/s, iops=3200, runt= 30720msec\n"
        f"{STATUS}   READ: io=98304MB, aggrb=3200.0MB/s, minb=3200.0MB/s, mint=30720msec, maxt=30720msec\n"
    )
    assert constants(text) == {"flash.read": "3355.44 MB/s"}  # 3200 MiB/s


def test_fio_json_sums_jobs():
    job = {"groupid": 0, "read": {"bw_bytes": 1_700_000_000, "lat_ns": {"mean": 5e6}}, "write": {"bw_bytes": 0}}
    options = {"rw": "read", "bs": "128k", "iodepth": "32", "ioengine": "libaio"}
    assert constants(json.dumps({"fio version": "fio-3.28", "global options": options, "jobs": [job] * 4})) == {
        "flash.read": "6800 MB/s"
    }


@pytest.mark.parametrize(
    ("header", "lines", "said"),
    [
        (
            "rw=randread, bs=(R) 4096B-4096B, ioengine=libaio, iodepth=64",
            "  read: IOPS=600k, BW=2344MiB/s (2458MB/s)(1GiB/1msec)\n",
            "randread with requests of 4096 bytes is a rate of requests",
        ),
        (
            "rw=rw, bs=(R) 128KiB-128KiB, ioengine=libaio, iodepth=64",
            "  read: IOPS=9k, BW=1100MiB/s (1153MB/s)(1GiB/1msec)\n"
            "  write: IOPS=9k, BW=1100MiB/s (1153MB/s)(1GiB/1msec)\n",
            "reads and writes ran at once",
        ),
        (
            "rw=read, bs=(R) 128KiB-128KiB, ioengine=libaio, iodepth=64",
            "  read: IOPS=9k, BW=13.1GiB/s (14.1GB/s)(1GiB/1msec)\nDisk stats (read/write):\n"
            "  nvme0n1: ios=1/0, merge=0/0\n  nvme1n1: ios=1/0, merge=0/0\n",
            "the run was over 2 drives (nvme0n1, nvme1n1)",
        ),
    ],
)
def test_fio_that_tells_no_constant_of_one_drive_is_refused(header, lines, said):
    assert said in complaint(f"job: (g=0): {header}\njob: (groupid=0, jobs=1): err= 0: pid=1\n{lines}")


def test_a_rate_beyond_the_sheet_is_refused(tmp_path, capsys):
    fast = (PASTED / "fio_four_jobs.txt").read_text().replace("6868MB/s", "27472MB/s")
    (tmp_path / "fio.txt").write_text(fast)
    status, text = calibrated("pm9a3", tmp_path / "fio.txt", capsys)
    assert status == 2 and "exceeds the 6.9 GB/s of one pm9a3" in text and "--direct=1" in text


def test_nccl_tests_before_the_column_root(capsys):
    status, text = calibrated("a100_sxm_40", PASTED / "nccl_tests_old.txt", capsys)
    assert status == 0
    assert text.splitlines()[:2] == ["nvlink.read = 222.57 GB/s", "nvlink.write = 222.57 GB/s"]


@pytest.mark.parametrize(
    "launched",
    ["{}", "[1,0]<stdout>:{}", "[node7:0]: {}", "0: {}", "2024-05-01T10:00:00.123Z {}", "node7: {}", "worker-0  | {}"],
)
def test_launchers_write_before_each_line(launched):
    lines = ["# nThread 1 nGpus 8 minBytes 8", HEAD, ROW, "# Out of bounds values : 0 OK"]
    assert constants("\n".join(launched.format(line) for line in lines))["nvlink.read"] == "306.63 GB/s"


def test_a_row_may_lack_the_cell_of_an_operation_that_it_has_not():
    row = ROW.replace("sum    -1", "         ")
    assert constants(f"{HEAD}\n{row}")["nvlink.read"] == "306.63 GB/s"


def test_nccl_tests_json():
    rows = [{"size": 1 << 30, "count": 1 << 28, "out_of_place": {"time": 1, "alg_bw": 175.2, "bus_bw": 306.6}}]
    assert constants(json.dumps({"version": "2.17", "results": rows}))["nvlink.read"] == "306.6 GB/s"


def test_ranks_of_amd_are_joined_by_xgmi():
    rank = "#  Rank  0 Group  0 Pid 1 on node7 device  0 [0x0c] AMD Instinct MI300X"
    assert constants(f"{rank}\n{rank.replace('Rank  0', 'Rank  1')}\n{HEAD}\n{ROW}")["xgmi.read"] == "306.63 GB/s"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "#  Rank  0 Pid 1 on nodea device  0 [0x0c] NVIDIA H100\n"
            "#  Rank  8 Pid 1 on nodeb device  0 [0x0c] NVIDIA H100\n"
            f"{HEAD}\n{ROW}",
            "on 2 hosts (nodea, nodeb)",
        ),
        (f"{HEAD}\n{ROW.replace('306.63', '0.00')}", "one rank moves nothing"),
        (f"{HEAD}\n{ROW.replace('1073741824', '1024')}", "the largest message has 1024 bytes"),
        (f"{HEAD}\n{ROW}\n# Out of bounds values : 3 FAILED", "are wrong (FAILED)"),
    ],
)
def test_nccl_tests_that_tell_no_link_are_refused(text, said):
    assert said in complaint(text)


def test_pairs_without_nvlink_do_not_make_its_rate():
    matrix = " 0     N/A    250.00   20.00\n 1   250.00     N/A   20.00\n 2    20.00   20.00     N/A\n"
    text = f"nvbandwidth Version: v0.4\nRunning device_to_device_memcpy_read_ce.\n      0     1     2\n{matrix}"
    assert constants(text) == {"nvlink.read": "250 GB/s"}


def test_nvbandwidth_json():
    case = {"name": "host_to_device_memcpy_ce", "bandwidth_matrix": [["55.1", "55.6"]], "sum": 110.7}
    assert constants(json.dumps({"nvbandwidth": {"testcases": [case]}})) == {"pcie.write": "55.6 GB/s"}


def test_figures_of_another_gpu_are_said_to_be(capsys):
    arguments = ["--pasted", str(PASTED / "nccl_tests_old.txt")]
    assert main(["calibrate", "--device", "h100_sxm", *arguments]) == 0
    assert "is of A100-SXM4-40GB; its figures go into the sheet of h100_sxm" in capsys.readouterr().err
    assert main(["calibrate", "--device", "a100_sxm_40", *arguments]) == 0
    assert "is of" not in capsys.readouterr().err
