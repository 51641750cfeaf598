"""The companion notebook's path with the SageMaker Python SDK v2, run with that SDK's interpreter.

``scenario_v2.py BUCKET PREFIX ROLE SEEN``: ratings lie below ``s3://BUCKET/PREFIX/{train,test}/``.
Nothing here knows where SageMaker is: endpoints and credentials are the environment's. What it
saw becomes the JSON file SEEN.
"""

import json
import sys
from pathlib import Path
from typing import Any

import boto3
import numpy as np
from sagemaker.amazon.common import RecordSerializer
from sagemaker.analytics import HyperparameterTuningJobAnalytics, TrainingJobAnalytics
from sagemaker.deserializers import JSONDeserializer
from sagemaker.estimator import Estimator
from sagemaker.parameter import ContinuousParameter
from sagemaker.predictor import Predictor
from sagemaker.tuner import HyperparameterTuner

import sagemaker

HYPERPARAMETERS = {
    "feature_dim": "12",
    "num_factors": "4",
    "predictor_type": "regressor",
    "epochs": "300",
    "mini_batch_size": "36",
    "factors_lr": "0.05",
    "linear_lr": "0.01",
    "factors_init_sigma": "0.1",
}


def rows(pairs: list[tuple[int, int]]) -> np.ndarray:
    """Return a dense record of each (customer, video)."""
    found = np.zeros((len(pairs), 12), np.float32)
    for row, (customer, video) in zip(found, pairs, strict=True):
        row[[customer, 6 + video]] = 1
    return found


def main(bucket: str, prefix: str, role: str) -> dict[str, object]:
    """Walk the path; return what was seen."""
    seen: dict[str, Any] = {}
    session = sagemaker.Session(default_bucket=bucket)
    image = sagemaker.image_uris.retrieve("factorization-machines", session.boto_region_name)
    inputs = {name: f"s3://{bucket}/{prefix}/{name}/" for name in ("train", "test")}
    output = f"s3://{bucket}/{prefix}/models"

    estimator = Estimator(
        image,
        role,
        instance_count=1,
        instance_type="ml.c5.4xlarge",
        output_path=output,
        sagemaker_session=session,
        hyperparameters=HYPERPARAMETERS,
        environment={"MATINEE_SEED": "1"},
        max_run=600,
    )
    estimator.fit(inputs, logs="All")
    job = estimator.latest_training_job.name
    seen["model_data"] = estimator.model_data
    seen["metrics"] = TrainingJobAnalytics(job, ["train:rmse:epoch"]).dataframe().to_dict("list")
    attached = Estimator.attach(job, sagemaker_session=session)
    seen["attached"] = attached.hyperparameters()["num_factors"]

    predictor = attached.deploy(
        initial_instance_count=1,
        instance_type="ml.m5.large",
        serializer=RecordSerializer("application/x-recordio-protobuf"),
        deserializer=JSONDeserializer(),
    )
    answer = predictor.predict(rows([(0, 0), (0, 1)]))
    seen["scores"] = [item["score"] for item in answer["predictions"]]
    again = Predictor(predictor.endpoint_name, session, deserializer=JSONDeserializer())
    body = json.dumps(
        {"instances": [{"data": {"features": {"keys": [0, 6], "shape": [12], "values": [1, 1]}}}]}
    )
    seen["sparse"] = again.predict(body, {"ContentType": "application/json"})["predictions"]

    transformer = attached.transformer(
        1, "ml.m5.large", strategy="MultiRecord", output_path=f"s3://{bucket}/{prefix}/predictions"
    )
    transformer.transform(
        inputs["test"],
        content_type="application/x-recordio-protobuf",
        split_type="RecordIO",
        logs=False,
    )
    transformer.wait(logs=False)
    seen["transform"] = transformer.latest_transform_job.name

    tuner = HyperparameterTuner(
        attached,
        "test:rmse",
        {"factors_lr": ContinuousParameter(0.001, 0.1)},
        objective_type="Minimize",
        max_jobs=2,
        max_parallel_jobs=2,
        random_seed=1,
    )
    tuner.fit(inputs, include_cls_metadata=False)
    tuned = tuner.latest_tuning_job.name
    trials = HyperparameterTuningJobAnalytics(tuned, session).dataframe()
    seen["trials"] = {
        name: trials[name].tolist()
        for name in ("TrainingJobName", "FinalObjectiveValue", "factors_lr")
    }
    reattached = HyperparameterTuner.attach(tuned, sagemaker_session=session)
    seen["best"] = reattached.best_training_job()
    seen["best_epochs"] = reattached.best_estimator().hyperparameters()["epochs"]

    predictor.delete_model()
    predictor.delete_endpoint()
    client = boto3.client("sagemaker")
    gone = client.get_waiter("endpoint_deleted")
    gone.wait(EndpointName=predictor.endpoint_name, WaiterConfig={"Delay": 1})
    own = {"NameContains": predictor.endpoint_name}
    seen["left"] = [
        *client.list_endpoints(**own)["Endpoints"],
        *client.list_endpoint_configs(**own)["EndpointConfigs"],
    ]
    return seen


if __name__ == "__main__":
    *words, target = sys.argv[1:]
    Path(target).write_text(json.dumps(main(*words)))
