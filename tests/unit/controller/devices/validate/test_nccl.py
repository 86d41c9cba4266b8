"""Files of nccl-tests: every row that can be timed is, and every other is told by line."""

import pytest

from controller.devices.validate.compare import slices
from controller.devices.validate.files import read_measured

HEADER = "system,op_name,nccl_dtype,num_gpus,message_bytes,latency_us\n"


def read(tmp_path, *rows, name="nccl_8gpu_all_reduce.csv"):
    path = tmp_path / name
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return read_measured(path)


def test_rows_of_two_systems_and_types(tmp_path):
    found = read(
        tmp_path,
        "h100_sxm,all_reduce,half,8,1024,15.7",
        "h100_sxm,all_reduce,half,8,67108864,321.9",
        "h100_sxm,all_reduce,int8,8,67108864,371.6",
        "a100_sxm,all_reduce,half,8,67108864,595.3",
    )
    assert [row.sizes["algorithm"] for row in found.rows] == ["ring/ll", "nvls/nvls", "ring/simple", "ring/simple"]
    assert found.device == "h100_sxm, a100_sxm" and not found.wrong and found.dropped == 0
    names = [part.slice for part in slices(found)]
    assert "bound: h100_sxm half, up to 1 MB" in names and "bound: a100_sxm half, above 1 MB" in names
    for row in found.rows:
        assert abs(row.error) < 0.2


def test_other_groups_and_collectives(tmp_path):
    found = read(tmp_path, "h100_sxm,all_gather,float,4,1048576,20", name="nccl_4gpu_all_gather.csv")
    (row,) = found.rows
    assert row.sizes["algorithm"].startswith("ring/") and row.predicted.time_s > 1e-6


def test_collectives_that_nccl_makes_no_choice_for_are_timed_by_its_one_way(tmp_path):
    found = read(
        tmp_path,
        "h100_sxm,alltoall,half,8,1024,30",
        "h100_sxm,all_to_all,half,8,67108864,300",
        "h100_sxm,broadcast,half,8,67108864,300",
        name="nccl_8gpu_alltoall.csv",
    )
    assert found.dropped == 0
    assert [row.sizes["algorithm"] for row in found.rows] == ["direct/ll", "direct/simple", "chain/simple"]
    # What every GPU sends to the seven others leaves it by 450 GB/s at most.
    assert found.rows[1].predicted.time_s > 67108864 * 7 / 8 / 450e9


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("mi300x,all_reduce,half,8,1024,15", "no shipped topology has 8 mi300x"),
        ("h1000,all_reduce,half,8,1024,15", "system 'h1000'"),
        ("h100_sxm,all_reduce,half,999,1024,15", "no shipped topology has 999 h100_sxm"),
        ("h100_sxm,gather,half,8,1024,15", "op_name is 'gather'"),
        ("h100_sxm,all_reduce,fp8,8,1024,15", "nccl_dtype is 'fp8'"),
        ("h100_sxm,all_reduce,half,8,1023,15", "no whole number of half elements"),
        ("h100_sxm,all_reduce,half,8,10.5,15", "message_bytes is 10.5"),
        ("h100_sxm,all_reduce,half,8,1024,-3", "latency_us is -3"),
        ("h100_sxm,all_reduce,half,8,1073741824,10", "unphysical"),
        ("h100_sxm,barrier,half,8,1024,15", "NCCL has one way for barrier"),
    ],
)
def test_a_row_that_cannot_be_used_is_told_by_line(row, said, tmp_path):
    found = read(tmp_path, "h100_sxm,all_reduce,half,8,1024,15.7", row)
    assert len(found.rows) == 1 and found.dropped == 1
    (refusal,) = found.refusals
    assert said in refusal.why and refusal.where.endswith(":3")


def test_a_missing_column_is_a_mistake_in_the_file(tmp_path):
    path = tmp_path / "nccl_8gpu_all_reduce.csv"
    path.write_text("system,latency_us\na,1\n")
    found = read_measured(path)
    assert found.wrong and "op_name" in found.unusable
