"""One emulated device, one process: bounded memory tiers, real tensor arithmetic, device time, a gRPC service.

From the bottom: `hardware` (what a device is and how long an operation takes on it; pure), `memory` and `compute`
(tiers and kernels), `runtime` (queues, events, pushes, clocks), `service` (gRPC), `server` (forks nodes). `client` is
the way in from outside. Nothing here imports the controller.
"""
