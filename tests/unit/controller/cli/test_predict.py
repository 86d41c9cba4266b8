"""What ``windtunnel predict`` says of an op beside its time."""

import json

import pytest

from controller.cli.predict import predict

ATTENTION = [
    "--batch_size",
    "8",
    "--isl",
    "4096",
    "--num_heads",
    "32",
    "--num_key_value_heads",
    "8",
    "--head_dim",
    "128",
]


@pytest.mark.parametrize(
    ("question", "sizes"),
    [
        ("gemm", ["-m", "4096", "-n", "8192", "-k", "8192"]),
        ("prefill_attention", ATTENTION),
        ("decode_attention", ATTENTION),
    ],
)
def test_a_kernel_is_told_as_a_share_of_the_peak(question, sizes, capsys):
    arguments = [question, "--device", "h100_sxm", *(name.replace("_", "-") for name in sizes)]
    predict.main(arguments, prog_name="x", standalone_mode=False)
    shown = capsys.readouterr().out
    predict.main([*arguments, "--json"], prog_name="x", standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert found["flop_per_s"] == pytest.approx(found["flop"] / found["time_s"])
    assert found["peak_flop_per_s"] == pytest.approx(989.4e12, rel=1e-3)
    assert 0 < found["peak_ratio"] < 1
    assert f"{found['peak_ratio']:.1%} of the peak of" in shown


def test_a_move_has_no_arithmetic_and_no_share(capsys):
    predict.main(
        ["message", "--device", "connectx7", "--bytes", "65536", "--json"], prog_name="x", standalone_mode=False
    )
    assert json.loads(capsys.readouterr().out)["peak_ratio"] is None
