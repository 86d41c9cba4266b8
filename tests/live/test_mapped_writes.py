"""Large writes go into a node's memory in one copy, are checked and counted like sent ones, and leave nothing open."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from controller.launch import launch
from node import buffer_client as client_module
from node.errors import DtypeMismatch, OutOfRange, UnknownBuffer

pytestmark = pytest.mark.live

COUNT = 3 * client_module.MAPPED_BYTES // 4


def test_a_large_write_is_there_and_counted(twins: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bool] = []
    real = client_module.write_once

    def watched(*given: object) -> bool:
        written.append(real(*given))  # type: ignore[arg-type]
        return written[-1]

    monkeypatch.setattr(client_module, "write_once", watched)
    declared = twins.topology(("gpu", "host0", twins.device_spec()))
    with launch(declared) as cluster:
        client, values = cluster.clients["gpu"], np.arange(COUNT, dtype=np.float32)
        client.allocate("before", "hbm", "fp32", (7,))
        client.allocate("x", "hbm", "fp32", (COUNT + 5,))
        open_files = len(os.listdir("/proc/self/fd"))
        client.write("x", values, offset_bytes=20)
        assert written == [True]
        assert np.array_equal(client.read("x")[5:], values) and not client.read("x")[:5].any()
        assert sum(tier.loaded_bytes for tier in client.counters().tiers) == values.nbytes
        assert len(os.listdir("/proc/self/fd")) == open_files
        with pytest.raises(OutOfRange):
            client.write("x", values, offset_bytes=24)
        with pytest.raises(DtypeMismatch):
            client.write("x", values.astype(np.int64))
        client.free("x")
        with pytest.raises(UnknownBuffer):
            client.write("x", values)
        assert written == [True]


def test_a_buffer_that_was_allocated_anew_gets_the_bytes_and_nobody_else(twins: SimpleNamespace) -> None:
    declared = twins.topology(("gpu", "host0", twins.device_spec()))
    with launch(declared) as cluster:
        client, values = cluster.clients["gpu"], np.full(COUNT, 3.0, np.float32)
        client.allocate("x", "hbm", "fp32", (COUNT,))
        client.write("x", values)
        client.free("x")
        client.allocate("other", "hbm", "fp32", (COUNT,))
        client.allocate("x", "hbm", "fp32", (COUNT,))
        client.write("x", values + 1)
        assert not client.read("other").any()
        assert (client.read("x") == 4.0).all()
        node = psutil.Process(cluster.processes["gpu"])
    assert not node.is_running()
