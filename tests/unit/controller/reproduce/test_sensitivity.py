"""What hangs on an assumption: known elasticities of a known run."""

from __future__ import annotations

import pytest

from controller.experiment import Request
from controller.reproduce.rows import Paper, PublishedRow, throughput
from controller.reproduce.sensitivity import scaled_text, sensitivity

REQUEST = Request("gpu_only", "tiny-opt", batch=2, prompt_tokens=8, output_tokens=3)


def test_a_run_of_tiny_kernels_hangs_on_the_launch_and_not_on_the_link() -> None:
    row = PublishedRow("table", {"batch": 2}, "throughput", 1.0, "tokens/s", "P", throughput("run"), ("run",), 0.1)
    unused = PublishedRow("table", {"batch": 3}, "throughput", 1.0, "tokens/s", "P", throughput("run"), ("run",))
    found = sensitivity(Paper("paper", "A paper", {"run": REQUEST}, (row, unused)), processes=1)
    by_constant = {entry.constant: entry.elasticity for entry in found}
    assert len(by_constant) == len(found), "the row that is printed only does not count"
    launches = by_constant["gpu.issue.launch"] + by_constant["gpu.stream.launch"]
    assert -1.2 < launches < -0.5
    assert by_constant["link.gpu.pcie-root.latency"] == pytest.approx(0.0, abs=1e-6)
    assert not any(constant.startswith("gpu.power") for constant in by_constant)


def test_options_of_a_topology_are_varied_too() -> None:
    request = Request("flexgen", "tiny-opt", batch=2, prompt_tokens=8, output_tokens=3)
    row = PublishedRow("table", {"batch": 2}, "throughput", 1.0, "tokens/s", "P", throughput("run"), ("run",), 0.1)
    found = sensitivity(Paper("paper", "A paper", {"run": request}, (row,)), processes=1)
    felt = {entry.constant: entry.elasticity for entry in found}
    assert felt["options.flexgen.append"] > 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10 us", "9 us"), ("0.95", "0.855"), ("64", "58"), ("2 GiB", "1.8 GiB"), ("true", None), ("nvme", None)],
)
def test_a_quantity_is_scaled_and_a_word_is_not(text: str, expected: str | None) -> None:
    assert scaled_text(text, 0.9) == expected
