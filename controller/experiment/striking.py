"""Live runs whose nodes are struck: injects what the request says, and tells how long it took to name what broke."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from controller.clock import wall_clock_s
from controller.errors import DeviceUnreachable
from controller.faults.timeline import Timeline
from controller.launch import Cluster
from controller.launch.injection import Injection, check_live
from controller.topology.fault import Fault
from controller.topology.schema import Topology


@contextmanager
def striking(faults: tuple[Fault, ...], topology: Topology, cluster: Cluster) -> Iterator[None]:
    """Injects faults into the nodes of a cluster while the block runs, counted from the start of the clocks.

    Raises:
        DeviceUnreachable: the node that was struck, with how long after the strike it was named.
    """
    if not faults:
        yield
        return
    timeline = Timeline.of(topology, faults)
    check_live(timeline, paced=cluster.pace is not None)
    with Injection(timeline, cluster.processes, cluster.clients) as injection:

        def started() -> None:
            cluster.await_heartbeats()
            injection.begin()

        cluster.when_started = started
        try:
            yield
        except DeviceUnreachable as error:
            struck_at = injection.struck.get(error.device)
            if struck_at is None:
                raise
            named_s = wall_clock_s() - struck_at
            raise StruckNode(f"{error}; named {named_s:.2f} s after it was struck", error.device, named_s) from error


class StruckNode(DeviceUnreachable):
    """A node that was struck on purpose.

    Attributes:
        named_s: from the strike until it was named [s of wall time].
    """

    def __init__(self, message: str, device: str, named_s: float) -> None:
        super().__init__(message, device)
        self.named_s = named_s
