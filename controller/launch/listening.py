"""Where the nodes of a run listen when sockets in its directory are not enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from controller.errors import UserError
from controller.topology.schema import Topology


@dataclass(frozen=True, slots=True)
class Listening:
    """Addresses of nodes. All of them then demand TLS and the token of the run, on loopback addresses too.

    Attributes:
        addresses: by host, as text; the system chooses ports.
        share_memory: whether nodes of one host, which are on one machine, map each other's memory; else everything
            between them travels by streams, as it does between machines.
    """

    addresses: Mapping[str, str]
    share_memory: bool = True

    def target(self, host: str) -> str:
        """What a node of a host binds, as gRPC names it.

        Raises:
            UserError: the host has no address, or one that nobody can bind and call.
        """
        text = self.addresses.get(host, "")
        try:
            address = ip_address(text)
        except ValueError as error:
            raise UserError(
                f"{text!r} is no address for the nodes of host {host} to listen on; give an IP address of this "
                "machine, such as 10.0.0.4"
            ) from error
        if address.is_unspecified or address.is_multicast:
            raise UserError(
                f"nodes cannot listen on {text}: the others are told where, so give the one address of this machine "
                "that they reach it by"
            )
        return f"[{address}]:0" if address.version == 6 else f"{address}:0"


def listening_on(topology: Topology, address: str, *, share_memory: bool = True) -> Listening:
    """Every host at one address."""
    return Listening({device.host: address for device in topology.devices.values()}, share_memory)
