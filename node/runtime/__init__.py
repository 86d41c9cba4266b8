"""What a node does with its memory and its kernels: commands, in-order queues, events, pushes.

A command starts when every event that it waits for has ended and its queue has come to it. Events end here or on a
peer, which says so over a stream of its own, so a batch for each node runs a whole plan without the controller.

Times are device times: ``start_at = max(ready_at, ends of the waits, queue free, launched by the host)``. With pacing
the node does the real work, then sleeps until the device would have ended; when the real work took longer, that is an
overrun and the real end counts. Without pacing the same times are computed and nobody sleeps.
"""
