"""Rates of the software between a GPU and its disk, as a study measured them: options of a topology."""

from __future__ import annotations

from controller.errors import BadTopology
from controller.topology.schema import Topology
from node.hardware.units import parse


def software_rate(topology: Topology, option: str) -> float:
    """A measured rate of a software path, from the options of the topology [bytes/s].

    Raises:
        BadTopology: it declares none.
    """
    text = topology.options.get(option)
    if text is None:
        raise BadTopology(
            f"topology {topology.name!r} lacks the option {option}, the rate of the software path to the SSD; "
            f"add it under options: or with --set options.{option}='2 GiB/s'"
        )
    return float(parse(text, "bytes/s"))
