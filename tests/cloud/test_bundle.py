"""The code of a deployment: built for real, the same each time, or refused."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from matinee.cloud.bundle import CHECKOUT, Bundle
from matinee.cloud.errors import BundleError
from matinee.cloud.template import Kind
from matinee.stepfunctions.definition import definition


def test_the_version_is_the_content_s() -> None:
    bundles = [Bundle({"a": b"1", "b": b"2"}), Bundle({"b": b"2", "a": b"1"})]
    assert len({bundle.version for bundle in bundles}) == 1
    others = [Bundle({"a": b"2", "b": b"1"}), Bundle({"a": b"1"}), Bundle({"a": b"1", "c": b"2"})]
    assert len({bundle.version for bundle in [*bundles, *others]}) == 4


def test_an_instance_gets_the_wheel_and_what_is_locked() -> None:
    bundle = Bundle.build(Kind.EC2, "")
    assert bundle == Bundle.build(Kind.EC2, "")
    (wheel,) = [name for name in bundle.files if name.endswith(".whl")]
    assert set(bundle.files) == {
        wheel, "state-machine.json", "constraints.txt", "glue/matinee.zip", "glue/preprocess.py",
    }  # fmt: skip
    assert json.loads(bundle.files["state-machine.json"]) == definition()
    assert bundle.files["glue/matinee.zip"] == bundle.files[wheel]
    with zipfile.ZipFile(io.BytesIO(bundle.files[wheel])) as archive:
        path = "matinee/cloud/bundle.py"
        assert archive.read(path) == (CHECKOUT / "src" / path).read_bytes()
    lines = bundle.files["constraints.txt"].decode().splitlines()
    assert [line.split("==")[0] for line in lines if line.startswith("apache-airflow==")]
    assert not any("://" in line or line.startswith("#") for line in lines)


def test_mwaa_gets_the_dag_and_requirements() -> None:
    bundle = Bundle.build(Kind.MWAA, "3.2.1")
    (wheel,) = [name for name in bundle.files if name.endswith(".whl")]
    dag = (CHECKOUT / "src/matinee/dags/recommender.py").read_bytes()
    assert bundle.files["dags/recommender.py"] == dag
    assert bundle.files["requirements.txt"].decode().splitlines() == [
        '--constraint "https://raw.githubusercontent.com/apache/airflow/constraints-3.2.1/'
        'constraints-3.12.txt"',
        f"matinee[workflow] @ file:///usr/local/airflow/{wheel}",
    ]


def test_without_a_checkout_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    with pytest.raises(BundleError, match=f"runs from {tmp_path}, which has no uv.lock"):
        Bundle.build(Kind.EC2, "", checkout=tmp_path)


def test_what_uv_says_is_told(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "uv.lock"):
        (tmp_path / name).write_text("no [ TOML")
    uv = tmp_path / ".uv/bin/uv"
    uv.parent.mkdir(parents=True)
    uv.symlink_to(CHECKOUT / ".uv/bin/uv")
    with pytest.raises(BundleError, match="uv build failed:\n"):
        Bundle.build(Kind.EC2, "", checkout=tmp_path)
