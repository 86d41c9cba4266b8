"""Starts and stops node processes: readiness, death, and nothing left behind.

``launch`` starts a cluster for the length of a ``with``; `detached.py` starts one that outlives its command.
Everything that a run has on this machine lies in one directory (`run_directory.py`): sockets, logs, flash tiers. A fork
server (`node.server`) owns the processes; it ends them and removes the directory when its control pipe closes, however
the controller ended. What a crash of both leaves, the next launch finds unlocked and removes.
"""

from controller.launch.cluster import Cluster, launch
from controller.launch.detached import RunningCluster, connect, list_running, start_detached, stop
from controller.launch.preflight import MachineSpeed, measure_machine, preflight, smallest_dilation

__all__ = [
    "Cluster",
    "MachineSpeed",
    "RunningCluster",
    "connect",
    "launch",
    "list_running",
    "measure_machine",
    "preflight",
    "smallest_dilation",
    "start_detached",
    "stop",
]
