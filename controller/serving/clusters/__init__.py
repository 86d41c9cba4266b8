"""Policies of several instances, one file each: pure functions of a `ClusterState`.

`route(state, request)` gives the instance of a request that has arrived; `rebalance(state, now)` the requests that
should move, asked every `period_s`; `scale(state, now)` by how many instances the cluster should grow or shrink. A
policy has what it needs of them. `place(fleet, demand)` divides devices before anything runs.
"""
