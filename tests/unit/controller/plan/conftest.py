"""A cluster that plans are checked against: nothing about it is fast or slow."""

import pytest

from controller.topology.loader import load_topology
from controller.topology.schema import Topology


@pytest.fixture(scope="session")
def cluster() -> Topology:
    """cpu (dram), gpu (hbm; queues stream, copy_out, copy_in, issue), csd0 (flash, dram)."""
    return load_topology("a6000_csd")
