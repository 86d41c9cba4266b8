"""What a topology declares of software beside its devices: positive numbers among its options."""

from __future__ import annotations

from controller.errors import BadTopology
from controller.topology.schema import Topology
from node.errors import BadQuantity
from node.hardware.units import parse


def declared(topology: Topology, option: str, dimension: str) -> float | None:
    """A positive number among the options of the topology; None where it says nothing.

    Raises:
        BadTopology: not a number, or not above 0.
    """
    text = topology.options.get(option)
    if text is None:
        return None
    try:
        number = float(parse(text, dimension))
    except BadQuantity as error:
        raise BadTopology(f"topology {topology.name!r}, option {option}: {error}") from error
    if number <= 0:
        raise BadTopology(f"topology {topology.name!r}, option {option} is {text!r}; write a number above 0")
    return number


def software_rate(topology: Topology, option: str) -> float:
    """A measured rate of a software path [bytes/s].

    Raises:
        BadTopology: it declares none, or none above 0.
    """
    rate = declared(topology, option, "bytes/s")
    if rate is None:
        raise BadTopology(
            f"topology {topology.name!r} lacks the option {option}, the rate of the software path to the SSD; "
            f"add it under options: or with --set options.{option}='2 GiB/s'"
        )
    return rate
