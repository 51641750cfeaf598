"""The model file: exact bytes out, MXNet's variants in, and a named error for everything else."""

import gzip
import io
import json
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from matinee.fm import artifact, symbol
from matinee.fm.errors import ArtifactError
from matinee.fm.model import Model

V = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)
W = np.array([7, 8], dtype=np.float32)
MODEL = Model(9.0, W, V, "regressor")
CLASSIFIER = Model(9.0, W, V, "binary_classifier")

# By hand: list header, three arrays (magic, storage, shape, device, type, data), names.
PARAMS = bytes.fromhex(
    "1201000000000000 0000000000000000 0300000000000000"
    "c9fa93f9 00000000 02000000 0200000000000000 0300000000000000 01000000 00000000 00000000"
    "0000803f 00000040 00004040 00008040 0000a040 0000c040"
    "c9fa93f9 00000000 02000000 0200000000000000 0100000000000000 01000000 00000000 00000000"
    "0000e040 00000041"
    "c9fa93f9 00000000 02000000 0100000000000000 0100000000000000 01000000 00000000 00000000"
    "00001041"
    "0300000000000000"
    "0500000000000000 6172673a76"
    "0d00000000000000 6172673a77315f776569676874"
    "0d00000000000000 6172673a77305f776569676874"
)


def dense(values: NDArray[np.generic], *, version: int = 2) -> bytes:
    """An array as MXNet saves it, in any of its layouts."""
    types = {"float32": 0, "float64": 1, "float16": 2, "int32": 4}
    return (
        struct.pack("<I", 0xF993FAC7 + version)
        + (struct.pack("<i", 0) if version > 1 else b"")
        + struct.pack(f"<I{values.ndim}q", values.ndim, *values.shape)
        + struct.pack("<iii", 1, 0, types[values.dtype.name])
        + values.tobytes()
    )


def row_sparse(
    values: NDArray[np.float32], rows: list[int], length: int, *, index_type: int = 6
) -> bytes:
    return (
        struct.pack("<Ii", 0xF993FAC9, 1)
        + struct.pack("<I2q", 2, *values.shape)
        + struct.pack("<I2q", 2, length, values.shape[1])
        + struct.pack("<iii", 1, 0, 0)
        + struct.pack("<iIq", index_type, 1, len(rows))
        + values.tobytes()
        + struct.pack(f"<{len(rows)}q", *rows)
    )


def listed(arrays: dict[str, bytes]) -> bytes:
    names = b"".join(struct.pack("<Q", len(name)) + name.encode() for name in arrays)
    return (
        struct.pack("<QQQ", 0x112, 0, len(arrays))
        + b"".join(arrays.values())
        + struct.pack("<Q", len(arrays))
        + names
    )


GOOD = {
    "arg:v": dense(V),
    "arg:w1_weight": dense(W[:, None]),
    "arg:w0_weight": dense(np.array([[9]], dtype=np.float32)),
}
NETWORK = symbol.dumps(2, 3, "regressor")


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            # A time of their own would make other bytes of the same members.
            entry = zipfile.ZipInfo(name)
            entry.compress_type = method
            archive.writestr(entry, content)
    return file.getvalue()


def with_params(params: bytes) -> bytes:
    return zipped({"symbol.json": NETWORK, "params": params})


def tarred(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for entry, content in members:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(file.getvalue(), mtime=0)


@pytest.fixture
def load(tmp_path: Path) -> Callable[[bytes], Model]:
    def load(content: bytes) -> Model:
        path = tmp_path / "model"
        path.write_bytes(content)
        return artifact.read(path)

    return load


def assert_same(found: Model, expected: Model) -> None:
    assert found.bias == expected.bias
    assert found.predictor_type == expected.predictor_type
    np.testing.assert_array_equal(found.linear, expected.linear)
    np.testing.assert_array_equal(found.factors, expected.factors)
    assert found.linear.dtype == found.factors.dtype == np.float32


@pytest.mark.parametrize("model", [MODEL, CLASSIFIER])
def test_what_is_written_is_read(model: Model, tmp_path: Path) -> None:
    artifact.write(model, tmp_path / "model_algo-1")

    assert_same(artifact.read(tmp_path / "model_algo-1"), model)


def test_the_file_is_two_stored_members_with_mxnets_bytes(tmp_path: Path) -> None:
    artifact.write(MODEL, tmp_path / "model_algo-1")

    with zipfile.ZipFile(tmp_path / "model_algo-1") as archive:
        members = archive.infolist()
        assert archive.read("params") == PARAMS
    assert [member.filename for member in members] == ["symbol.json", "params"]
    assert {member.compress_type for member in members} == {zipfile.ZIP_STORED}
    assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize(
    ("model", "operator"),
    [(MODEL, "LinearRegressionOutput"), (CLASSIFIER, "LogisticRegressionOutput")],
)
def test_the_network_names_what_loaders_look_for(
    model: Model, operator: str, tmp_path: Path
) -> None:
    artifact.write(model, tmp_path / "model_algo-1")

    with zipfile.ZipFile(tmp_path / "model_algo-1") as archive:
        network = json.loads(archive.read("symbol.json"))
    nodes = network["nodes"]
    inputs = {nodes[index]["name"]: nodes[index].get("attrs", {}) for index in network["arg_nodes"]}
    assert inputs == {
        "data": {},
        "w1_weight": {"__shape__": "(2, 1)"},
        "w0_weight": {"__shape__": "(1, 1)"},
        "v": {"__shape__": "(2, 3)"},
        "out_label": {},
    }
    head = nodes[network["heads"][0][0]]
    assert (head["name"], head["op"]) == ("out", operator)
    assert all(given < at for at, node in enumerate(nodes) for given, _, _ in node["inputs"])
    assert network["node_row_ptr"] == list(range(len(nodes) + 1))


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        artifact.write(MODEL, tmp_path / name)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


WRITE_WHERE_FILES_STAY_SMALL = """
import resource, sys
from pathlib import Path
from matinee.fm import artifact

model = artifact.read(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
artifact.write(model, Path(sys.argv[2]))
"""


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    artifact.write(MODEL, tmp_path / "model")
    folder = tmp_path / "full"
    folder.mkdir()
    path = folder / "model_algo-1"
    path.write_bytes(b"old")

    # In a process of its own: the limit holds for what this one prints into a file, too.
    done = subprocess.run(  # noqa: S603 - our own interpreter and words
        [sys.executable, "-c", WRITE_WHERE_FILES_STAY_SMALL, tmp_path / "model", path],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "File too large" in done.stderr
    assert [file.name for file in folder.iterdir()] == ["model_algo-1"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    "params",
    {
        "by hand": PARAMS,
        "version 1": listed({**GOOD, "arg:v": dense(V, version=1)}),
        "version 3": listed({**GOOD, "arg:v": dense(V, version=3)}),
        "float64": listed({**GOOD, "arg:v": dense(V.astype(np.float64))}),
        "float16": listed({**GOOD, "arg:v": dense(V.astype(np.float16))}),
        "row-sparse": listed({**GOOD, "arg:v": row_sparse(V, [0, 1], 2)}),
        "flat linear": listed({**GOOD, "arg:w1_weight": dense(W)}),
        "flat bias": listed({**GOOD, "arg:w0_weight": dense(np.array([9], np.float32))}),
        "scalar bias": listed({**GOOD, "arg:w0_weight": dense(np.array(9, np.float32), version=3)}),
        "bare names": listed({name.removeprefix("arg:"): array for name, array in GOOD.items()}),
        "more arrays": listed({**GOOD, "aux:other": dense(W)}),
    }.items(),
    ids=lambda case: case[0],
)
def test_mxnets_variants_are_read(
    params: tuple[str, bytes], load: Callable[[bytes], Model]
) -> None:
    assert_same(load(with_params(params[1])), MODEL)


def test_rows_that_are_not_stored_are_zero(load: Callable[[bytes], Model]) -> None:
    stored = row_sparse(V[:1], [1], 2)

    loaded = load(with_params(listed({**GOOD, "arg:v": stored})))

    assert loaded.factors.tolist() == [[0, 0, 0], [1, 2, 3]]


def test_deflated_members_and_unknown_ones_are_fine(load: Callable[[bytes], Model]) -> None:
    members = {"manifest.json": b"{}", "params": PARAMS, "symbol.json": NETWORK}

    assert_same(load(zipped(members, zipfile.ZIP_DEFLATED)), MODEL)


@pytest.mark.parametrize(
    "samples", [[], [MODEL], [MODEL, Model(-1.0, V[0, :2], V * 2, "regressor")]]
)
def test_samples_of_a_posterior_stand_beside_the_model(
    samples: list[Model], tmp_path: Path
) -> None:
    path = tmp_path / "model_algo-1"
    artifact.write(MODEL, path, samples)

    assert_same(artifact.read(path), MODEL)
    found = artifact.read_samples(path)
    assert len(found) == len(samples)
    for one, expected in zip(found, samples, strict=True):
        assert_same(one, expected)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("params") == PARAMS


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (b"x" * 40, "starts with"),
        (listed({"0:v": dense(V), "0:w1_weight": dense(W)}), "has no array 'w0_weight'"),
        (listed({name.removeprefix("arg:"): array for name, array in GOOD.items()}), "no array"),
        (listed({"0:v": dense(V), "0:w1_weight": dense(W), "0:w0_weight": dense(V)}), "shape"),
    ],
)
def test_bad_samples_are_refused(samples: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model_algo-1"
    path.write_bytes(zipped({"symbol.json": NETWORK, "params": PARAMS, "samples": samples}))

    assert_same(artifact.read(path), MODEL)
    with pytest.raises(ArtifactError, match=message):
        artifact.read_samples(path)


@pytest.mark.parametrize("name", ["model_algo-1", "./model_algo-1"])
def test_the_archive_around_it_is_read(name: str, load: Callable[[bytes], Model]) -> None:
    other = (tarfile.TarInfo("other"), b"x" * 2000)

    assert_same(load(tarred(other, (tarfile.TarInfo(name), with_params(PARAMS)))), MODEL)


def link() -> tarfile.TarInfo:
    entry = tarfile.TarInfo("model_algo-1")
    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return entry


def network(operator: object) -> bytes:
    return json.dumps({"nodes": [{"op": operator}], "heads": [[0, 0, 0]]}).encode()


FLOAT = np.float32
BAD_PARAMS = {
    "empty": (b"", "ends early"),
    "another magic": (b"\x13" + PARAMS[1:], "starts with 0x113"),
    "cut": (PARAMS[:60], "ends early"),
    "longer": (PARAMS + b"\0", "goes on after its last name"),
    "too many arrays": (struct.pack("<QQQ", 0x112, 0, 2**40), f"says it holds {2**40} arrays"),
    "no names": (PARAMS[: PARAMS.index(b"arg:v") - 16] + bytes(8), "3 arrays but 0 names"),
    "long name": (listed({"v" * 1001: GOOD["arg:v"]}), "name says it has 1001 bytes"),
    "a name twice": (listed(GOOD).replace(b"w1_weight", b"w0_weight"), "names an array twice"),
    "a name in no encoding": (listed(GOOD).replace(b"arg:v", b"arg:\xff"), "decode"),
    "array magic": (listed({**GOOD, "arg:v": b"\0" * 40}), "unknown magic number 0x0"),
    "csr": (
        listed({**GOOD, "arg:v": struct.pack("<Ii", 0xF993FAC9, 2) + bytes(40)}),
        "storage type 2",
    ),
    "no dimensions": (listed({**GOOD, "arg:v": dense(np.array(1, FLOAT))}), "an array is empty"),
    "many dimensions": (
        listed({**GOOD, "arg:v": struct.pack("<IiI", 0xF993FAC9, 0, 33) + bytes(400)}),
        "33 dimensions",
    ),
    "negative shape": (
        listed({**GOOD, "arg:v": struct.pack("<IiI2q", 0xF993FAC9, 0, 2, -1, 3) + bytes(12)}),
        r"shape \(-1, 3\)",
    ),
    "shape beyond the file": (
        listed({**GOOD, "arg:v": struct.pack("<IiI2qiii", 0xF993FAC9, 0, 2, 2**50, 3, 1, 0, 0)}),
        "ends early",
    ),
    "integers": (listed({**GOOD, "arg:v": dense(V.astype(np.int32))}), "element type 4"),
    "row index type": (
        listed({**GOOD, "arg:v": row_sparse(V, [0, 1], 2, index_type=4)}),
        "row-sparse",
    ),
    "row index range": (listed({**GOOD, "arg:v": row_sparse(V, [0, 2], 2)}), "not ascending"),
    "row index order": (listed({**GOOD, "arg:v": row_sparse(V, [1, 0], 2)}), "not ascending"),
    "row count": (listed({**GOOD, "arg:v": row_sparse(V, [0], 2)}), "row-sparse"),
    "sparse bomb": (listed({**GOOD, "arg:v": row_sparse(V, [0, 1], 2**40)}), "fills over"),
    "no factors": (listed({"arg:w1_weight": GOOD["arg:w1_weight"]}), "has no array 'v'"),
    "NaN": (listed({**GOOD, "arg:v": dense(V * FLOAT(np.nan))}), "'v' holds NaN or infinity"),
    "float64 beyond float32": (
        listed({**GOOD, "arg:v": dense(V.astype(np.float64) * 1e300)}),
        "'v' holds NaN or infinity",
    ),
    "flat factors": (listed({**GOOD, "arg:v": dense(W)}), r"'v' has shape \(2,\)"),
    "linear length": (listed({**GOOD, "arg:w1_weight": dense(V)}), "'w1_weight' has shape"),
    "bias length": (listed({**GOOD, "arg:w0_weight": dense(W)}), "'w0_weight' has shape"),
}
BAD_FILES = {
    **{name: (with_params(params), message) for name, (params, message) in BAD_PARAMS.items()},
    "nothing": (b"", "neither a ZIP nor a gzipped tar"),
    "text": (b"hello", "neither a ZIP nor a gzipped tar"),
    "cut ZIP": (with_params(PARAMS)[:200], "not a zip file"),
    "damaged data": (with_params(PARAMS).replace(b"\x00\x00\x80\x3f", b"\x00\x00\x80\x3e"), "CRC"),
    "no params": (zipped({"symbol.json": NETWORK}), "no member 'params'"),
    "no network": (zipped({"params": PARAMS}), "no member 'symbol.json'"),
    "bzip2": (
        zipped({"symbol.json": NETWORK, "params": PARAMS}, zipfile.ZIP_BZIP2),
        "unsupported method",
    ),
    "huge network": (
        zipped({"symbol.json": b" " * (2**20 + 1), "params": PARAMS}),
        "unpacks to more than 1048576",
    ),
    "network of no JSON": (zipped({"symbol.json": b"{", "params": PARAMS}), "Expecting"),
    "deep network": (zipped({"symbol.json": b"[" * 2**20, "params": PARAMS}), "recursion"),
    "network without nodes": (
        zipped({"symbol.json": b'{"nodes": []}', "params": PARAMS}),
        "not an MXNet network",
    ),
    "another network": (
        zipped({"symbol.json": network("SoftmaxOutput"), "params": PARAMS}),
        "ends in 'SoftmaxOutput'",
    ),
    "odd network": (zipped({"symbol.json": network([1]), "params": PARAMS}), r"ends in \[1\]"),
    "gzip of no tar": (gzip.compress(b"x" * 1000, mtime=0), "invalid header"),
    "cut tar": (tarred((tarfile.TarInfo("model_algo-1"), with_params(PARAMS)))[:100], ""),
    "no model": (tarred((tarfile.TarInfo("other"), b"")), "no member 'model_algo-1'"),
    "link": (tarred((link(), b"")), "not a regular file"),
    "many members": (
        tarred(*[(tarfile.TarInfo(str(number)), b"") for number in range(1001)]),
        "more than 1000 members",
    ),
    "tar of no ZIP": (tarred((tarfile.TarInfo("model_algo-1"), b"PK")), "not a zip file"),
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_are_refused_by_name(
    content: bytes, message: str, load: Callable[[bytes], Model]
) -> None:
    with pytest.raises(ArtifactError, match=f"(?s)/model: .*{message}"):
        load(content)


def test_files_that_unpack_to_too_much_are_refused(tmp_path: Path) -> None:
    content = with_params(PARAMS)
    bomb = tarred(
        (tarfile.TarInfo("zeros"), bytes(2**20)), (tarfile.TarInfo("model_algo-1"), content)
    )
    path = tmp_path / "model"
    for packed, message in (
        (content, "'params' unpacks to more than 100 bytes"),
        (tarred((tarfile.TarInfo("model_algo-1"), content)), "tar file unpacks to more than 100"),
        (bomb, "tar file unpacks to more than 100"),
    ):
        path.write_bytes(packed)
        with pytest.raises(ArtifactError, match=message):
            artifact.read(path, largest=100)


def test_a_file_that_is_not_there_stays_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        artifact.read(tmp_path / "model")


@settings(deadline=None, max_examples=300)
@given(data=st.data(), packed=st.booleans())
def test_damaged_files_load_or_are_refused(
    data: st.DataObject, packed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = with_params(PARAMS)
    if packed:
        content = tarred((tarfile.TarInfo("model_algo-1"), content))
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(damaged[: data.draw(st.integers(1, len(damaged)))])

    try:
        model = artifact.read(path)
    except ArtifactError:
        return
    assert np.isfinite(model.factors).all()
