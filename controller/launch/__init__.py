"""Starts and stops node processes: readiness, death, and nothing left behind.

``launch`` starts a cluster for the length of a ``with``; `detached.py` starts one that outlives its command.
Everything that a run has on this machine lies in one directory (`run_directory.py`): sockets, logs, flash tiers. A fork
server (`node.server`) owns the processes; it ends them and removes the directory when its control pipe closes, however
the controller ended. What a crash of both leaves, the next launch finds unlocked and removes.

Nodes that are given an address to listen on (`listening.py`) demand TLS and the token of the run (`certificates.py`),
and bind no other way. Ports are chosen by the system when a node binds, so such nodes are introduced to each other once
all serve. ``launch_on_ray`` (`ray_placement.py`) has a fork server on each of several machines; device time 0 is then
translated to the clock of each (`clocks.py`).
"""

from controller.launch.cluster import Cluster
from controller.launch.detached import RunningCluster, connect, list_running, start_detached, stop
from controller.launch.listening import Listening, listening_on
from controller.launch.preflight import MachineSpeed, measure_machine, preflight, smallest_dilation
from controller.launch.start import launch

__all__ = [
    "Cluster",
    "Listening",
    "MachineSpeed",
    "RunningCluster",
    "connect",
    "launch",
    "list_running",
    "listening_on",
    "measure_machine",
    "preflight",
    "smallest_dilation",
    "start_detached",
    "stop",
]
