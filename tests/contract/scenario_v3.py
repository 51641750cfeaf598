"""The companion notebook's path with the SageMaker Python SDK v3, run with that SDK's interpreter.

``scenario_v3.py BUCKET PREFIX ROLE SEEN``: as ``scenario_v2.py``, with what v3 has in its place:
ModelTrainer, the tuner, and the resource classes of sagemaker-core.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.parameter import ContinuousParameter
from sagemaker.core.resources import (
    Endpoint,
    EndpointConfig,
    HyperParameterTuningJob,
    Model,
    TrainingJob,
    TransformJob,
)
from sagemaker.core.shapes import (
    ContainerDefinition,
    OutputDataConfig,
    ProductionVariant,
    StoppingCondition,
    TransformDataSource,
    TransformInput,
    TransformOutput,
    TransformResources,
    TransformS3DataSource,
)
from sagemaker.core.training.configs import Compute, InputData
from sagemaker.train.model_trainer import ModelTrainer
from sagemaker.train.tuner import HyperparameterTuner

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


def main(bucket: str, prefix: str, role: str) -> dict[str, object]:
    """Walk the path; return what was seen."""
    seen: dict[str, Any] = {}
    session = Session(default_bucket=bucket)
    image = image_uris.retrieve("factorization-machines", session.boto_region_name)
    inputs = [
        InputData(channel_name=name, data_source=f"s3://{bucket}/{prefix}/{name}/")
        for name in ("train", "test")
    ]
    trainer = ModelTrainer(
        sagemaker_session=session,
        role=role,
        training_image=image,
        base_job_name="fm",
        compute=Compute(instance_type="ml.c5.4xlarge", instance_count=1, volume_size_in_gb=30),
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/{prefix}/models"),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=600),
        hyperparameters=HYPERPARAMETERS,
        environment={"MATINEE_SEED": "1"},
    )
    trainer.train(input_data_config=inputs, wait=True, logs=True)
    job = TrainingJob.get(trainer._latest_training_job.training_job_name)
    seen["status"] = job.training_job_status
    seen["model_data"] = job.model_artifacts.s3_model_artifacts
    seen["metrics"] = {item.metric_name: item.value for item in job.final_metric_data_list}

    name = f"v3-{int(time.time())}"
    Model.create(
        model_name=name,
        primary_container=ContainerDefinition(image=image, model_data_url=seen["model_data"]),
        execution_role_arn=role,
    )
    variant = ProductionVariant(
        variant_name="all", model_name=name, initial_instance_count=1, instance_type="ml.m5.large"
    )
    EndpointConfig.create(endpoint_config_name=name, production_variants=[variant])
    endpoint = Endpoint.create(endpoint_name=name, endpoint_config_name=name)
    endpoint.wait_for_status("InService", poll=1)
    answer = endpoint.invoke(
        body=json.dumps({"instances": [{"features": [1.0] + 5 * [0.0] + [1.0] + 5 * [0.0]}]}),
        content_type="application/json",
        accept="application/json",
    )
    seen["scores"] = [item["score"] for item in json.loads(answer.body.read())["predictions"]]

    transform = TransformJob.create(
        transform_job_name=name,
        model_name=name,
        transform_input=TransformInput(
            data_source=TransformDataSource(
                s3_data_source=TransformS3DataSource(
                    s3_data_type="S3Prefix", s3_uri=f"s3://{bucket}/{prefix}/test/"
                )
            ),
            content_type="application/x-recordio-protobuf",
            split_type="RecordIO",
        ),
        transform_output=TransformOutput(s3_output_path=f"s3://{bucket}/{prefix}/v3"),
        transform_resources=TransformResources(instance_type="ml.m5.large", instance_count=1),
    )
    transform.wait(poll=1)
    seen["transform"] = transform.transform_job_status

    tuner = HyperparameterTuner(
        model_trainer=trainer,
        objective_metric_name="test:rmse",
        hyperparameter_ranges={"factors_lr": ContinuousParameter(0.001, 0.1)},
        objective_type="Minimize",
        max_jobs=2,
        max_parallel_jobs=2,
        base_tuning_job_name="fm-v3",
        random_seed=1,
    )
    tuner.tune(inputs=inputs, wait=True)
    tuned = tuner.latest_tuning_job.hyper_parameter_tuning_job_name
    described = HyperParameterTuningJob.get(tuned)
    seen["best"] = described.best_training_job.training_job_name
    seen["trials"] = sorted(item.training_job_name for item in described.get_all_training_jobs())

    endpoint.delete()
    endpoint.wait_for_delete(poll=1)
    EndpointConfig.get(name).delete()
    Model.get(name).delete()
    seen["left"] = [item.endpoint_name for item in Endpoint.get_all(name_contains=name)]
    return seen


if __name__ == "__main__":
    *words, target = sys.argv[1:]
    Path(target).write_text(json.dumps(main(*words)))
