"""A Ray cluster of simulated nodes, in Ray's environment: ``nodes.py ADDRESS ADDRESS ...``.

The first address is the head's, which runs no hosts of jobs; each other one is a node's with two
CPUs. Prints where the head is; then ends the node whose address it reads, as a loss of power would,
and everything when there is no more to read. Whether it wants a token its surroundings say.
"""

from __future__ import annotations

import os
import sys
import tempfile

from ray.cluster_utils import Cluster

MEMORY = {"object_store_memory": 80 << 20}


def main(head: str, *others: str) -> None:
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "node_ip_address": head,
            "num_cpus": 0,
            "include_dashboard": False,
            **MEMORY,
        },
    )
    nodes = {
        address: cluster.add_node(wait=False, node_ip_address=address, num_cpus=2, **MEMORY)
        for address in others
    }
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    for line in sys.stdin:
        cluster.remove_node(nodes[line.strip()], allow_graceful=False)
        print(f"ended {line.strip()}", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    # Of its own, and with a short name: it holds sockets.
    with tempfile.TemporaryDirectory(prefix="ray-") as scratch:
        os.environ["RAY_TMPDIR"] = scratch
        main(*sys.argv[1:])
