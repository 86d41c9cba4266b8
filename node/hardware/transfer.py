"""How long bytes take from one tier to another when nothing else moves.

Model: latency first, one after the other as the first byte meets them: the read latency of the source, port, links,
port, the write latency of the destination. Then bytes at the slowest of: the source's read side, the destination's
write side, every port and link on the way, the limit of a pageable copy, the limit of a software path. A copy between
two tiers of one device passes no port; within one simplex tier, reading and writing share it.
Source: store-and-forward of a long copy is pipelined, so its rate is that of the narrowest stage (Hockney's r_inf,
n_1/2: Parallel Computing 20(3), 1994); CUDA C++ Best Practices Guide, section on pinned memory, for pageable copies.
Valid for: copies much longer than a packet (256 B on PCIe).
Not modelled: packet headers (use measured port rates), the several requests that a long copy is cut into.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from node.errors import Unsupported
from node.hardware.device import PortSpec, TierSpec
from node.hardware.traffic import paged_bytes, tier_time_s

LOCAL: Final = "local"
"""Name of the bound of a copy within one tier."""


@dataclass(frozen=True, slots=True)
class TransferCost:
    """What a transfer costs alone.

    Attributes:
        time_s: from its first byte to its last, without `latency_s` [s].
        latency_s: paid once before [s].
        rate_bytes_per_s: of the narrowest stage [bytes/s].
        bound: the narrowest stage: ``read``, ``write``, ``local``, ``out port``, ``in port``, ``link``, ``pageable`` or
            ``path``.
    """

    time_s: float
    latency_s: float
    rate_bytes_per_s: float
    bound: str


def transfer_cost(
    nbytes: int,
    source: TierSpec,
    destination: TierSpec,
    *,
    out_port: PortSpec | None = None,
    in_port: PortSpec | None = None,
    link_bytes_per_s: float = inf,
    link_latency_s: float = 0.0,
    pageable: bool = False,
    rate_limit_bytes_per_s: float = 0.0,
) -> TransferCost:
    """Cost of moving `nbytes` alone.

    Args:
        nbytes: payload [bytes]; a tier of pages moves whole pages.
        source, destination: tiers.
        out_port, in_port: of the two devices; both None for a copy within one device.
        link_bytes_per_s: narrowest link of the route [bytes/s].
        link_latency_s: of all links of the route [s].
        pageable: one end is pageable host memory; the accelerator's port says how fast that is.
        rate_limit_bytes_per_s: further limit of a software path, 0 for none [bytes/s].

    Raises:
        Unsupported: a pageable copy over ports of which none has a pageable rate.
    """
    stages = {"link": link_bytes_per_s, "path": rate_limit_bytes_per_s or inf}
    if out_port is None and in_port is None and source == destination:
        stages[LOCAL] = 1.0 / tier_time_s(source, 1.0, 1.0)
    else:
        stages["read"] = 1.0 / tier_time_s(source, 1.0, 0.0)
        stages["write"] = 1.0 / tier_time_s(destination, 0.0, 1.0)
    latency_s = link_latency_s + source.read_latency_s + destination.write_latency_s
    if out_port is not None:
        stages["out port"] = min(out_port.read_bytes_per_s, out_port.total_bytes_per_s or inf)
        latency_s += out_port.latency_s
    if in_port is not None:
        stages["in port"] = min(in_port.write_bytes_per_s, in_port.total_bytes_per_s or inf)
        latency_s += in_port.latency_s
    if pageable:
        stages["pageable"] = pageable_rate_bytes_per_s(out_port, in_port)
    bound = min(stages, key=stages.__getitem__)
    rate = stages[bound]
    moved = max(paged_bytes(nbytes, source.page_bytes), paged_bytes(nbytes, destination.page_bytes))
    return TransferCost(moved / rate, latency_s, rate, bound)


def pageable_rate_bytes_per_s(out_port: PortSpec | None, in_port: PortSpec | None) -> float:
    """Rate of a copy from or to pageable host memory [bytes/s].

    Raises:
        Unsupported: neither port knows one.
    """
    rates = [port.pageable_bytes_per_s for port in (out_port, in_port) if port is not None]
    known = [rate for rate in rates if rate is not None]
    if not known:
        names = ", ".join(port.name for port in (out_port, in_port) if port is not None) or "no port"
        raise Unsupported(
            f"a pageable copy needs a measured rate, and {names} has none; add `pageable` with its source to the port "
            f"in the accelerator's sheet, override it, or copy from pinned memory"
        )
    return min(known)
