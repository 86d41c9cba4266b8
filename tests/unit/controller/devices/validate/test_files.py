"""Files of measurements: names, refusals by file and line, and nothing left out in silence."""

import gzip

import pytest

from controller.devices.validate.compare import compared, slices, worst
from controller.devices.validate.files import read_measured, split_name

HEADER = "m,n,k,latency_us\n"


def written(folder, name, text):
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize(
    ("stem", "parts"),
    [
        ("h100_sxm_gemm_bf16", ("h100_sxm", "gemm", "bf16")),
        ("rtx_pro_6000_prefill_attention_fp16", ("rtx_pro_6000", "prefill_attention", "fp16")),
        ("b200_sxm_decode_attention_bf16_graph", ("b200_sxm", "decode_attention", "bf16")),
        ("smartssd_p2p_read", ("smartssd", "p2p_read", "")),
        ("nccl_8gpu_all_reduce", None),
        ("gemm_bf16", None),
    ],
)
def test_a_name_says_device_table_and_type(stem, parts):
    assert split_name(stem) == parts


@pytest.mark.parametrize("device", ["a100_sxm", "h200_sxm", "b200_sxm", "l40s", "a10", "gh200", "mi300x", "h20"])
def test_any_device_of_the_catalog_can_be_compared(tmp_path, device):
    found = read_measured(written(tmp_path, f"{device}_gemm_bf16.csv.gz", HEADER + "4096,4096,4096,1200\n"))
    assert not found.unusable
    assert found.dropped == 0
    assert 0.02 < found.rows[0].predicted.time_s / found.rows[0].measured_s < 5


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("128,64,64,-3", "latency_us is -3"),
        ("128,64,64,0", "latency_us is 0"),
        ("128,64,64,nan", "latency_us is nan"),
        ("128,64,64,fast", "no number"),
        ("128,64,64,1e-320", "is between"),
        ("128,64,64,1e308", "is between"),
        (f"{'9' * 300},64,64,3", "at most 1000000000000000"),
        ("0,64,64,3", "m is 0"),
        ("1.5,64,64,3", "whole number"),
        (",64,64,3", "needs m"),
        ("128,64,64", "3 cells for 4 columns"),
        ("8192,8192,8192,100", "unphysical: 1.1e+04 TFLOP/s"),
    ],
)
def test_a_row_that_cannot_be_is_named_and_counted(tmp_path, line, reason):
    text = f"{HEADER}128,128,128,3\n{line}\n256,256,256,4\n"
    found = read_measured(written(tmp_path, "h100_sxm_gemm_bf16.csv", text))
    assert len(found.rows) == 2
    assert found.dropped == 1
    assert [refusal.where for refusal in found.refusals] == ["h100_sxm_gemm_bf16.csv:3"]
    assert reason in found.refusals[0].why
    assert slices(found)[0].dropped == 1


def test_a_row_that_reads_faster_than_memory_is_unphysical(tmp_path):
    text = "batch_size,isl,step,num_heads,num_key_value_heads,head_dim,latency_us\n64,1,32767,64,64,128,100\n"
    found = read_measured(written(tmp_path, "h100_sxm_decode_attention_bf16.csv", text))
    assert "GB/s beyond the cache" in found.refusals[0].why


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("h100_sxm_gemm_bf16.csv", "m,n,latency_us\n1,2,3\n", "h100_sxm_gemm_bf16.csv:1: column 'k' is missing"),
        ("h100_sxm_gemm_bf16.csv", "m,n,k\n1,2,3\n", "column 'latency_us' is missing"),
        ("h100_sxm_gemm_bf16.csv", "", "is empty"),
        ("h100_sxm_gemm_bf16.csv", "m,m,k,latency_us\n", "is there twice"),
        ("h101_sxm_gemm_bf16.csv", HEADER + "1,2,3,4\n", "no device 'h101_sxm'"),
        ("h100_sxm_gemm_bf17.csv", HEADER + "1,2,3,4\n", "bf17"),
    ],
)
def test_a_file_that_cannot_be_used_says_file_line_and_why(tmp_path, name, text, reason):
    found = read_measured(written(tmp_path, name, text))
    assert found.wrong
    assert found.unusable.startswith(f"{name}:1: ")
    assert reason in found.unusable
    assert found.rows == ()
    assert found.dropped == found.row_count


def test_a_table_that_no_model_covers_is_listed_with_its_rows(tmp_path):
    written(tmp_path, "moe_dispatch.csv", "system,latency_us\na,1\nb,2\n")
    (found,) = compared(tmp_path)
    assert (found.dropped, found.row_count, found.wrong) == (2, 2, False)
    assert "not modelled" in found.unusable
    assert slices(found)[0].median is None


def test_slices_start_with_all_and_every_slice_partitions_the_rows(tmp_path):
    text = HEADER + "".join(f"{m},4096,4096,{t}\n" for m, t in ((1, 14), (64, 15), (4096, 200), (16384, 800)))
    found = read_measured(written(tmp_path, "h100_sxm_gemm_bf16.csv", text))
    parts = slices(found)
    assert parts[0].slice == "all"
    assert parts[0].rows == 4
    decades = [part for part in parts[1:] if not part.slice.startswith("bound")]
    bounds = [part for part in parts if part.slice.startswith("bound")]
    assert [part.slice for part in decades] == ["10-100 us", "100-1000 us"]
    assert sum(part.rows for part in decades) == sum(part.rows for part in bounds) == 4
    errors = sorted(abs(row.error) for row in found.rows)
    assert parts[0].median == pytest.approx((errors[1] + errors[2]) / 2)
    assert parts[0].p90 == errors[3]
    assert [abs(row.error) for row in worst(found, 2)] == [errors[3], errors[2]]
