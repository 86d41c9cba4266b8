"""Equal content gives equal digests in every process; what changes a time changes the digest."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def test_how_a_number_is_written_or_set_does_not_matter(load, toy_text):
    declared = load(toy_text.replace("bandwidth: 32 GB/s", "bandwidth: 10 GB/s"))
    written = load(toy_text.replace("bandwidth: 32 GB/s", "bandwidth: 80000 Mb/s"))
    override = load(toy_text, "link.gpu.pcie-root.bandwidth=10 GB/s")
    assert declared.digest == written.digest == override.digest
    assert declared.digest != load(toy_text).digest
    assert load(toy_text.replace("count: 2", "count: 3")).digest == load(toy_text, "csd.count=3").digest
    assert len(declared.digest) == 64


@pytest.mark.parametrize(
    "override",
    ["csd.count=3", "csd.flash.page=8 KiB", "csd1.flash.read=5 GB/s", "link.csd1.pcie-root.latency=2 us",
     "gpu.tensor.peak.bf16=1 TFLOP/s", "options.seed=8"],
)  # fmt: skip
def test_whatever_may_change_a_time_changes_the_digest(load, toy_text, override):
    assert load(toy_text, override).digest != load(toy_text).digest


PROGRAM = """
import sys
from controller.topology.graph import route
from controller.topology.loader import load_topology
toy = load_topology(sys.argv[1], ["csd.count=3", "csd2.flash.read=5 GB/s"], [sys.argv[2]])
print(toy.digest, list(toy.devices), [link.name for link in toy.links])
for a in toy.devices:
    for b in toy.devices:
        print(a, b, [str(hop.tail) for hop in route(toy, a, b).hops])
"""


def test_the_hash_seed_changes_nothing(tmp_path, catalog, toy_text):
    path = tmp_path / "toy.yaml"
    path.write_text(toy_text)
    printed = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(path), str(catalog)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert printed.pop().count("\n") == 26
