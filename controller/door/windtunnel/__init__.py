"""windtunnel in Python: run strategies and collectives on declared clusters, and compare them.

    import windtunnel

    found = windtunnel.run("instinfer", model="opt-13b", batch=64)
    print(found)                            # what ran, its time and throughput
    found.to_dict()                         # the object of `windtunnel run --json`
    windtunnel.compare("dram_kv", "instinfer", sweep={"batch": [16, 64]}).rows()    # for pandas.DataFrame

Times are seconds, sizes bytes. Wrong input raises `UserError` or `UserInput`, a run that ends badly `RunError`.
"""

from controller.capture.kernel_work import KernelWork, kernel_cost
from controller.errors import RunError, UserError, WindtunnelError
from node.errors import NodeError, UserInput

from .commands import collective, compare, run
from .results import FinishedCollective, FinishedComparison, FinishedRun

__all__ = [
    "FinishedCollective",
    "FinishedComparison",
    "FinishedRun",
    "KernelWork",
    "NodeError",
    "RunError",
    "UserError",
    "UserInput",
    "WindtunnelError",
    "collective",
    "compare",
    "kernel_cost",
    "run",
]
