"""The model server over HTTP, with models whose scores can be worked out by hand."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy
import pytest
import scipy.sparse

from matinee.fm import artifact
from matinee.fm.container.serve import MAXIMUM_BODY
from matinee.fm.hyperparameters import PredictorType
from matinee.fm.model import Model
from matinee.recordio import decode_predictions, encode
from tests.fm.container.processes import DEADLINE_SECONDS, Job, ratings, serving, start

JSON = "application/json"
JSON_LINES = "application/jsonlines"
RECORDIO = "application/x-recordio-protobuf"

ROW = [1.0, 0.0, 1.0]
# bias + linear_0 + linear_2 + factors_0 * factors_2
SCORE = 0.5 + 1 + 3 + 1 * 3
FEATURES = numpy.array([ROW, [0.0, 0.0, 0.0]], dtype=numpy.float32)
SCORES = [SCORE, 0.5]
BODY = {"instances": [{"features": row} for row in FEATURES.tolist()]}


def write_model(base: Path, predictor_type: PredictorType, scale: float = 1) -> Path:
    linear = numpy.array([1, 2, 3], dtype=numpy.float32) * numpy.float32(scale)
    model = Model(0.5, linear, linear.reshape(3, 1) / numpy.float32(scale), predictor_type)
    (base / "model").mkdir()
    artifact.write(model, base / "model/model_algo-1")
    return base


@pytest.fixture(scope="module")
def regressor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    base = write_model(tmp_path_factory.mktemp("regressor"), "regressor")
    with serving(base) as client:
        yield client


@pytest.fixture(scope="module")
def batch_classifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    base = write_model(tmp_path_factory.mktemp("classifier"), "binary_classifier", scale=-100)
    # The SDK's local mode spells it this way, SageMaker "true".
    with serving(base, SAGEMAKER_BATCH="True") as client:
        yield client


def invoke(
    client: httpx.Client, body: Any, content_type: str | None = JSON, accept: str | None = None
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = client.build_request("POST", "/invocations", content=content)
    # httpx has defaults of its own.
    for name, value in (("content-type", content_type), ("accept", accept)):
        request.headers.pop(name, None)
        if value is not None:
            request.headers[name] = value
    return client.send(request)


def test_ping(regressor: httpx.Client) -> None:
    response = regressor.get("/ping")
    assert (response.status_code, response.content) == (200, b"")


def test_execution_parameters(regressor: httpx.Client) -> None:
    parameters = regressor.get("/execution-parameters").json()
    assert parameters.pop("MaxConcurrentTransforms") >= 1
    assert parameters == {"BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}


def test_there_is_nothing_else(regressor: httpx.Client) -> None:
    assert regressor.get("/").status_code == 404
    assert regressor.get("/invocations").status_code == 405
    assert regressor.post("/ping").status_code == 405


def test_a_websocket_is_not_offered(regressor: httpx.Client) -> None:
    headers = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    headers["sec-websocket-key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    assert regressor.get("/ping", headers=headers).status_code == 200


def test_an_endpoint_answers_json_by_default(regressor: httpx.Client) -> None:
    response = invoke(regressor, BODY)
    assert response.status_code == 200
    assert response.headers["content-type"] == JSON
    assert response.text == '{"predictions": [{"score": 7.5}, {"score": 0.5}]}'
    assert invoke(regressor, BODY, accept="*/*").text == response.text


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (BODY, JSON),
        (BODY, "application/json; charset=utf-8"),
        (
            {"instances": [{"data": {"features": {"values": row}}} for row in FEATURES.tolist()]},
            JSON,
        ),
        (
            {
                "instances": [
                    {"data": {"features": {"keys": [0, 2], "shape": [3], "values": [1, 1]}}},
                    {"data": {"features": {"keys": [], "shape": [3], "values": []}}},
                ]
            },
            JSON,
        ),
        (b'{"features": [1, 0, 1]}\n{"features": [0, 0, 0]}\n', JSON_LINES),
        (encode(FEATURES), RECORDIO),
        (encode(scipy.sparse.csr_matrix(FEATURES)), RECORDIO),
        (encode(FEATURES, numpy.zeros(2, dtype=numpy.float32)), RECORDIO),
    ],
    ids=[
        "short",
        "charset",
        "long",
        "sparse",
        "lines",
        "dense record",
        "sparse record",
        "labelled",
    ],
)
def test_every_form_of_a_request_gives_the_same_scores(
    regressor: httpx.Client, body: Any, content_type: str
) -> None:
    answer = invoke(regressor, body, content_type).json()
    assert [prediction["score"] for prediction in answer["predictions"]] == SCORES


def test_a_single_record_without_its_frame(regressor: httpx.Client) -> None:
    payload = encode(FEATURES[:1])[8:]
    response = invoke(regressor, payload, RECORDIO, accept=JSON_LINES)
    assert response.text == '{"score": 7.5}\n'


def test_recordio_is_answered_with_recordio(regressor: httpx.Client) -> None:
    response = invoke(regressor, encode(FEATURES), RECORDIO, accept=RECORDIO)
    assert response.headers["content-type"] == RECORDIO
    scores, labels = decode_predictions(response.content)
    assert scores.tolist() == SCORES
    assert labels is None


def test_a_batch_transform_answers_json_lines_by_default(batch_classifier: httpx.Client) -> None:
    response = invoke(batch_classifier, BODY)
    assert response.headers["content-type"] == JSON_LINES
    # The first score is saturated; the other one is the logistic of the bias.
    assert response.text == (
        '{"score": 0.0, "predicted_label": 0.0}\n'
        '{"score": 0.622459352016449, "predicted_label": 1.0}\n'
    )
    assert invoke(batch_classifier, BODY, accept="*/*").text == response.text


def test_a_classifier_s_other_answers(batch_classifier: httpx.Client) -> None:
    answer = invoke(batch_classifier, BODY, accept=JSON).json()
    assert answer["predictions"][0] == {"score": 0.0, "predicted_label": 0.0}
    scores, labels = decode_predictions(invoke(batch_classifier, BODY, accept=RECORDIO).content)
    assert scores.tolist() == [0.0, 0.622459352016449]
    assert labels is not None
    assert labels.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", JSON),
        (b"{", JSON),
        (b'{"instances": []}', JSON),
        (b'{"instances": [{"features": [1, 0]}]}', JSON),
        (b'{"instances": [{"features": [1, 0, 1, 0]}]}', JSON),
        (b'{"instances": [{"features": [NaN, 0, 1]}]}', JSON),
        (b'{"instances": [{"features": [1e39, 0, 1]}]}', JSON),
        (b'{"instances": [{"features": [1e38, 0, 1e38]}]}', JSON),
        (b'{"data": {"features": {"keys": [3], "shape": [4], "values": [1]}}}', JSON_LINES),
        (encode(FEATURES)[:-4], RECORDIO),
        (encode(FEATURES[:, :2].copy()), RECORDIO),
        (encode(scipy.sparse.csr_matrix((1, 4), dtype=numpy.float32)), RECORDIO),
    ],
)
def test_what_cannot_be_scored_is_a_client_error(
    regressor: httpx.Client, body: bytes, content_type: str
) -> None:
    response = invoke(regressor, body, content_type)
    assert (response.status_code, response.text) == (400, "unable to evaluate payload provided")


def test_types_that_are_not_spoken(regressor: httpx.Client) -> None:
    refused = invoke(regressor, b"1,0,1", "text/csv")
    assert refused.status_code == 415
    assert "content type 'text/csv' isn't supported" in refused.text
    assert invoke(regressor, BODY, None).status_code == 415
    refused = invoke(regressor, BODY, accept="text/csv")
    assert refused.status_code == 406
    assert "accept 'text/csv' isn't supported" in refused.text


def test_a_body_above_the_limit_is_refused(regressor: httpx.Client) -> None:
    assert invoke(regressor, bytes(MAXIMUM_BODY + 1), RECORDIO).status_code == 413
    assert regressor.get("/ping").status_code == 200


def test_many_records_are_scored_as_each_alone(regressor: httpx.Client) -> None:
    features = numpy.random.default_rng(0).normal(size=(9_000, 3)).astype(numpy.float32)
    together, _ = decode_predictions(
        invoke(regressor, encode(features), RECORDIO, accept=RECORDIO).content
    )
    for row in (0, 4_500, 8_999):
        alone, _ = decode_predictions(
            invoke(regressor, encode(features[row : row + 1]), RECORDIO, accept=RECORDIO).content
        )
        assert alone.tolist() == together[row : row + 1].tolist()


def test_what_was_trained_is_served(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.train()
    expected = artifact.read(job.model).predict(ratings(10))
    with serving(tmp_path) as client:
        answer = invoke(client, encode(ratings(10)), RECORDIO, accept=RECORDIO)
    assert decode_predictions(answer.content)[0].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "must hold one file model_algo-1, but has []"),
        ({"model_algo-1": b"PK"}, "model_algo-1"),
    ],
)
def test_without_a_model_it_does_not_start(
    tmp_path: Path, files: dict[str, bytes], problem: str
) -> None:
    (tmp_path / "model").mkdir()
    for name, content in files.items():
        (tmp_path / "model" / name).write_bytes(content)
    with start(["serve"], tmp_path, {}) as process:
        log, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    assert "AlgorithmError: the model cannot be loaded: " in log
    assert problem in log
