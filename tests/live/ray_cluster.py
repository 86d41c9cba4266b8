"""A Ray cluster of two nodes on this machine: prints its address, and ends with its standard input."""

import sys

if __name__ == "__main__":
    from ray.cluster_utils import Cluster

    memory_bytes = 80 << 20
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": memory_bytes},
    )
    try:
        cluster.add_node(num_cpus=1, object_store_memory=memory_bytes)
        cluster.wait_for_nodes()
        print(f"address {cluster.address}", flush=True)
        sys.stdin.read()
    finally:
        cluster.shutdown()
