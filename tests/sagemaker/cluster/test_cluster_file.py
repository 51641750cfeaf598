"""What ``cluster.json`` may say; and what a token's file must be."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from matinee.sagemaker.cluster import cluster_file, connection
from matinee.sagemaker.cluster.cluster_file import Cluster, ClusterError

LEAST: dict[str, Any] = {"ray": "10.0.0.1:6379", "token_file": "/home/me/token"}


def read(folder: Path, content: Any) -> Cluster | None:
    (folder / "cluster.json").write_text(json.dumps(content))
    return cluster_file.read(folder)


def test_without_a_file_there_is_no_cluster(tmp_path: Path) -> None:
    assert cluster_file.read(tmp_path) is None


def test_what_is_left_open_has_a_default(tmp_path: Path) -> None:
    hour = timedelta(hours=1)
    assert read(tmp_path, LEAST) == Cluster("10.0.0.1:6379", Path("/home/me/token"), 1, hour)
    more = {**LEAST, "ray": "[::1]:6379", "cpus": 0.5, "wait_seconds": 60}
    assert read(tmp_path, more) == Cluster(
        "[::1]:6379", Path("/home/me/token"), 0.5, timedelta(minutes=1)
    )


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ([], "must hold an object, not []"),
        ({**LEAST, "gpus": 1}, "must not have gpus"),
        ({"token_file": "/home/me/token"}, 'must have "ray": "HOST:PORT", not None'),
        ({**LEAST, "ray": "ray://10.0.0.1:10001"}, "not 'ray://10.0.0.1:10001'"),
        ({**LEAST, "ray": "10.0.0.1"}, "not '10.0.0.1'"),
        ({"ray": "10.0.0.1:6379"}, "a cluster is used with its token only"),
        ({**LEAST, "token_file": "token"}, "not 'token'"),
        ({**LEAST, "cpus": 0}, 'must have a positive number as "cpus", not 0'),
        ({**LEAST, "cpus": True}, "not True"),
        ({**LEAST, "wait_seconds": "long"}, "not 'long'"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, content: Any, rule: str) -> None:
    with pytest.raises(ClusterError) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'cluster.json'} ")
    assert rule in str(caught.value)


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text("{")
    with pytest.raises(ClusterError, match="is not JSON"):
        cluster_file.read(tmp_path)


def test_a_token_is_its_owners_alone(tmp_path: Path) -> None:
    token = tmp_path / "token"
    with pytest.raises(ClusterError, match="cannot read the cluster's token"):
        connection.check_token(token)
    token.touch(0o600)
    with pytest.raises(ClusterError, match="is empty"):
        connection.check_token(token)
    token.write_text("secret")
    connection.check_token(token)
    token.chmod(0o640)
    with pytest.raises(ClusterError, match="has mode 640: only its owner may access it"):
        connection.check_token(token)
