"""The server's connection with a Ray cluster: by a token, to a cluster that insists on it.

Ray runs whatever its clients ask for, so a cluster that lets in everybody would run everybody's
code with this user's rights. Such a one is refused, and so is a token file that others may read.
"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from matinee.sagemaker.cluster.cluster_file import ClusterError

NAMESPACE = "matinee"

_ANSWER_SECONDS, _PROBE_SECONDS = 10.0, 60.0
_IS_OPEN, _IS_CLOSED = 10, 11
# Ray answers so to a client without a token; the module is Ray's own way to its control service.
_PROBE = f"""
import sys
from ray.exceptions import AuthenticationError
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1]).get_all_node_info()
except AuthenticationError:
    sys.exit({_IS_CLOSED})
sys.exit({_IS_OPEN})
"""


def check_token(path: Path) -> None:
    """Refuse a token file that is not there, is empty, or that others may read.

    Raises
    ------
    ClusterError
    """
    try:
        with path.open() as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            token = file.read().strip()
    except (OSError, ValueError) as error:
        raise ClusterError(f"cannot read the cluster's token: {error}") from error
    if mode & 0o077:
        raise ClusterError(f"{path} has mode {mode:o}: only its owner may access it (chmod 600)")
    if not token:
        raise ClusterError(f"{path} is empty: it must hold the cluster's token")


def connect(address: str, token: Path) -> None:
    """Connect this process with a cluster, for as long as it lives.

    Parameters
    ----------
    address
        ``host:port`` of the cluster's head.
    token
        The file with its token.

    Raises
    ------
    ClusterError
        The cluster does not answer, takes another token or none, or is not there on this machine.
    """
    check_token(token)
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        socket.create_connection((host, int(port)), _ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(f"no cluster answers at {address}: {error}") from error
    os.environ |= _surroundings("token") | {"RAY_AUTH_TOKEN_PATH": str(token)}
    os.environ.pop("RAY_AUTH_TOKEN", None)
    answer = _probe(address, os.environ)
    if answer == _IS_CLOSED:
        raise ClusterError(f"the cluster {address} does not take the token {token}")
    if answer != _IS_OPEN:
        raise ClusterError(f"what answers at {address} is no Ray cluster")
    hidden = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}
    bare = {name: value for name, value in os.environ.items() if name not in hidden}
    if _probe(address, bare | _surroundings("disabled")) != _IS_CLOSED:
        raise ClusterError(
            f"the cluster {address} lets in clients without a token: start all of its nodes with "
            "RAY_AUTH_MODE=token"
        )
    # Not before: it reads its surroundings when it is imported.
    import ray

    try:
        ray.init(
            address=address,
            namespace=NAMESPACE,
            configure_logging=False,
            log_to_driver=False,
            **_own_address(host),
        )
    except (ConnectionError, RuntimeError) as error:
        raise ClusterError(f"this machine is no node of the cluster {address}: {error}") from error


def _surroundings(mode: str) -> dict[str, str]:
    return {"RAY_AUTH_MODE": mode, "RAY_USAGE_STATS_ENABLED": "0"}


def _own_address(host: str) -> dict[str, str]:
    """Return how this machine's node is found where Ray would not: on a loopback address."""
    try:
        is_loopback = ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    return {"_node_ip_address": host} if is_loopback else {}


def _probe(address: str, environment: Mapping[str, str]) -> int:
    """Ask a cluster for its nodes from a process of its own: one can have one way to sign in."""
    try:
        return subprocess.run(  # noqa: S603 - our own interpreter and words
            [sys.executable, "-c", _PROBE, address],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_SECONDS,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        return 0
