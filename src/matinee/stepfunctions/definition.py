"""The workflow as a state machine in the Amazon States Language (JSONPath): one for all settings.

An execution's input is `{"parameters": {...}}`, the DAG's own parameters. The steps run as
processing jobs (`matinee.workflow.job`), which also write the requests of the jobs between them: no
request stands here, only the names of its fields, which Step Functions wants to see. What only a
deployment knows are the substitutions `SUBSTITUTIONS`, which CloudFormation fills in
(`DefinitionSubstitutions`), or `substituted`. Refuses to leave one open.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from matinee.workflow import requests
from matinee.workflow.parameters import PARAMETERS
from matinee.workflow.prepare import Prepared
from matinee.workflow.requests import job_name
from matinee.workflow.settings import Settings

# Of the parameters that a deployment has its own defaults for, the substitution that names it.
DEPLOYED = {
    "role": "SageMakerRoleArn",
    "endpoint": "Recommender",
    "model_package_group": "Recommender",
    "engine": "Engine",
    "athena_database": "AthenaDatabase",
    "athena_workgroup": "AthenaWorkgroup",
    "glue_job": "GlueJob",
}
SUBSTITUTIONS = ("WorkflowImage", "Partition", "Bucket", *dict.fromkeys(DEPLOYED.values()))
# Where the jobs of an execution hand things on, below the bucket.
FOLDER = "executions"
# Of the processing jobs: memory for some ten million ratings, and disk for their files.
INSTANCE_TYPE = "ml.m5.xlarge"
VOLUME_GB = 50
MAX_SECONDS = 24 * 3600
# Training jobs of configurations at a time.
CONCURRENCY = 10

State = dict[str, Any]

_SUBSTITUTION = re.compile(r"\$\{(\w+)\}")

# A job that was created though its answer was lost has its name: the next try takes another.
_CREATED_ALREADY = "SageMaker.ResourceInUseException"
_BUSY = {
    "ErrorEquals": ["SageMaker.AmazonSageMakerException", _CREATED_ALREADY],
    "IntervalSeconds": 1,
    "MaxAttempts": 5,
    "BackoffRate": 2.0,
}
_QUOTA = {
    "ErrorEquals": ["SageMaker.ResourceLimitExceededException"],
    "IntervalSeconds": 60,
    "MaxAttempts": 60,
    "BackoffRate": 1.0,
}
# As the DAG's tasks are tried twice.
_ONCE_MORE = {"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1, "MaxAttempts": 1}
_S3_BUSY = {
    "ErrorEquals": ["States.TaskFailed"],
    "IntervalSeconds": 1,
    "MaxAttempts": 4,
    "BackoffRate": 2.0,
}
_CATCH = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "CleanUp"}]


def definition() -> dict[str, Any]:
    """Return the state machine; its substitutions stand in it as `${Name}`."""
    return {
        "Comment": "Ratings in S3 to a recommender in service, with SageMaker",
        "StartAt": "Start",
        "States": _states(),
    }


def substituted(document: Mapping[str, Any], values: Mapping[str, str]) -> str:
    """Return the JSON text of a definition with its substitutions filled in.

    Raises
    ------
    KeyError
        If one has no value.
    """
    text = json.dumps(document)
    return _SUBSTITUTION.sub(lambda found: json.dumps(values[found[1]])[1:-1], text)


def undecided() -> dict[str, str]:
    """Return the values of a deployment that leaves the workflow its own defaults."""
    return {value: str(PARAMETERS[name].default) for name, value in DEPLOYED.items()}


def _states() -> dict[str, State]:
    train, tune, configure, predict = _fields()
    return {
        "Start": {
            "Type": "Pass",
            "Parameters": {
                "run.$": (
                    "States.Format('matinee-{}{}',"
                    " States.ArrayGetItem(States.StringSplit(States.UUID(), '-'), 0),"
                    " States.ArrayGetItem(States.StringSplit(States.UUID(), '-'), 1))"
                ),
                "defaults": {
                    **{name: _in_bucket(name) for name in ("ratings", "output")},
                    **{name: f"${{{value}}}" for name, value in DEPLOYED.items()},
                },
                "given.$": "$.parameters",
            },
            "Next": "Parameters",
        },
        "Parameters": {
            "Type": "Pass",
            "Parameters": {
                "run.$": "$.run",
                "parameters.$": "States.JsonMerge($.defaults, $.given, false)",
                "uri.$": f"States.Format('s3://${{Bucket}}/{FOLDER}/{{}}/parameters.json', $.run)",
            },
            "Next": "PutParameters",
        },
        "PutParameters": _put("parameters", "$.parameters", "Data")
        | {"Catch": [{**_CATCH[0], "Next": "Failed"}]},
        "Data": _processing("data", "ReadRequests"),
        "ReadRequests": _read_requests("Branch"),
        "Branch": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.read.requests.next", "StringEquals": branch, "Next": state}
                for branch, state in (
                    ("train", "Train"),
                    ("tune", "Tune"),
                    ("configure", "TrainEach"),
                    ("predict", "CreateModel"),
                    ("end", "CleanUp"),
                )
            ],
            "Default": "UnknownBranch",
        },
        "UnknownBranch": {
            "Type": "Pass",
            "Result": {"Error": "UnknownBranch", "Cause": "requests.json names no branch of ours"},
            "ResultPath": "$.failure",
            "Next": "CleanUp",
        },
        "Train": _job(
            "createTrainingJob.sync",
            {
                **_from("$.read.requests.train", train),
                "TrainingJobName.$": _name("train"),
            },
            {"training_jobs.$": "States.Array($.TrainingJobName)"},
            retry_failed=True,
        )
        | {"ResultPath": "$.trained", "Catch": _CATCH, "Next": "PutTrained"},
        "Tune": _job(
            "createHyperParameterTuningJob.sync",
            {
                **_from("$.read.requests.tune", tune),
                "HyperParameterTuningJobName.$": _name("tune"),
            },
            {"tuning_job.$": "$.HyperParameterTuningJobName"},
            retry_failed=True,
        )
        | {"ResultPath": "$.trained", "Catch": _CATCH, "Next": "PutTrained"},
        "TrainEach": {
            "Type": "Map",
            "ItemsPath": "$.read.requests.configure",
            "ItemSelector": {
                "run.$": "$.run",
                "number.$": "$$.Map.Item.Index",
                "request.$": "$$.Map.Item.Value",
            },
            "MaxConcurrency": CONCURRENCY,
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": "TrainOne",
                "States": {
                    "TrainOne": _job(
                        "createTrainingJob.sync",
                        {
                            **_from("$.request", configure),
                            "TrainingJobName.$": _name("train-{}", "$.number"),
                        },
                        {"job.$": "$.TrainingJobName"},
                        retry_failed=True,
                    )
                    | {"End": True}
                },
            },
            "ResultSelector": {"training_jobs.$": "$[*].job"},
            "ResultPath": "$.trained",
            "Catch": _CATCH,
            "Next": "PutTrained",
        },
        "PutTrained": _put("trained", "$.trained", "Choose"),
        "Choose": _processing("choose", "ReadPrediction"),
        "ReadPrediction": _read_requests("CreateModel"),
        "CreateModel": _job(
            "createModel",
            {
                **_from("$.read.requests.predict.Model", predict["Model"]),
                "ModelName.$": _name("predict"),
            },
            {"name.$": "States.ArrayGetItem(States.StringSplit($.ModelArn, '/'), 1)"},
        )
        | {"ResultPath": "$.model", "Catch": _CATCH, "Next": "Predict"},
        "Predict": _job(
            "createTransformJob.sync",
            {
                **_from("$.read.requests.predict.Transform", predict["Transform"]),
                "TransformJobName.$": _name("predict"),
                "ModelName.$": "$.model.name",
            },
            {"job.$": "$.TransformJobName"},
            retry_failed=True,
        )
        | {"ResultPath": "$.predicted", "Catch": _CATCH, "Next": "Publish"},
        "Publish": _processing("publish", "CleanUp", ("'--transform-job'", "$.predicted.job")),
        "CleanUp": _processing("clean-up", "Ended")
        | {"Catch": [{**_CATCH[0], "ResultPath": "$.left", "Next": "Ended"}]},
        "Ended": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.failure", "IsPresent": True, "Next": "Failed"},
                {"Variable": "$.left", "IsPresent": True, "Next": "NotCleanedUp"},
            ],
            "Default": "Succeeded",
        },
        "Failed": _fail("$.failure"),
        "NotCleanedUp": _fail("$.left"),
        "Succeeded": {"Type": "Succeed"},
    }


def _fields() -> tuple[list[str], list[str], list[str], dict[str, list[str]]]:
    """Return the fields of the requests, as the builders make them; values are of no account."""
    settings = Settings.from_parameters({"configurations": [{"num_factors": 2}]})
    prepared: Prepared = {
        "run": "",
        "train": "",
        "validate": "",
        "test": "",
        "feature_dim": 2,
        "field_dims": [1, 1],
        "rating_counts": {},
        "test_chunks": [],
    }
    predict = requests.transform_request(settings, prepared, name="", image="", model="")
    return (
        [*requests.training_request(settings, prepared, name="", image="")],
        [*requests.tuning_request(settings, prepared, name="", image="")],
        [*requests.configuration_request(settings, prepared, 0, attempt=1, image="")],
        {part: [*request] for part, request in predict.items()},
    )


def _in_bucket(name: str) -> str:
    """Return a parameter's default with the deployment's bucket in it."""
    _, _, key = str(PARAMETERS[name].default).removeprefix("s3://").partition("/")
    return f"s3://${{Bucket}}/{key}"


def _name(job: str, *arguments: str) -> str:
    """Return what names a job; each try has a name of its own."""
    attempt = "States.MathAdd($$.State.RetryCount, 1)"
    words = ", ".join(["$.run", *arguments, attempt])
    return f"States.Format('{job_name('{}', job, '{}')}', {words})"


def _from(path: str, fields: Iterable[str]) -> dict[str, str]:
    """Return parameters that take each field from a document of the state."""
    return {f"{name}.$": f"{path}.{name}" for name in fields}


def _resource(action: str) -> str:
    return f"arn:${{Partition}}:states:::{action}"


def _job(
    action: str,
    parameters: Mapping[str, Any],
    result: Mapping[str, str],
    *,
    retry_failed: bool = False,
) -> State:
    return {
        "Type": "Task",
        "Resource": _resource(f"sagemaker:{action}"),
        "Parameters": dict(parameters),
        "ResultSelector": dict(result),
        "Retry": [_QUOTA, _BUSY, *([_ONCE_MORE] if retry_failed else [])],
    }


def _processing(step: str, after: str, more_words: Iterable[str] = ()) -> State:
    """Return the state of a processing job that does a step; what fails it would fail it again."""
    words = [f"'{step}'", "'--parameters'", "$.uri", "'--run'", "$.run", *more_words]
    parameters = {
        "ProcessingJobName.$": _name(step),
        "RoleArn": "${SageMakerRoleArn}",
        "AppSpecification": {
            "ImageUri": "${WorkflowImage}",
            "ContainerEntrypoint": ["python", "-m", "matinee.workflow.job"],
            "ContainerArguments.$": f"States.Array({', '.join(words)})",
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": INSTANCE_TYPE,
                "VolumeSizeInGB": VOLUME_GB,
            }
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": MAX_SECONDS},
    }
    state = _job("createProcessingJob.sync", parameters, {})
    del state["ResultSelector"]
    return state | {"ResultPath": None, "Catch": _CATCH, "Next": after}


def _put(document: str, body: str, after: str) -> State:
    return {
        "Type": "Task",
        "Resource": _resource("aws-sdk:s3:putObject"),
        "Parameters": {
            "Bucket": "${Bucket}",
            "Key.$": _key(document),
            "Body.$": body,
            "ContentType": "application/json",
        },
        "ResultPath": None,
        "Retry": [_S3_BUSY],
        "Catch": _CATCH,
        "Next": after,
    }


def _read_requests(after: str) -> State:
    return {
        "Type": "Task",
        "Resource": _resource("aws-sdk:s3:getObject"),
        "Parameters": {"Bucket": "${Bucket}", "Key.$": _key("requests")},
        "ResultSelector": {"requests.$": "States.StringToJson($.Body)"},
        "ResultPath": "$.read",
        "Retry": [_S3_BUSY],
        "Catch": _CATCH,
        "Next": after,
    }


def _key(document: str) -> str:
    return f"States.Format('{FOLDER}/{{}}/{document}.json', $.run)"


def _fail(path: str) -> State:
    return {"Type": "Fail", "ErrorPath": f"{path}.Error", "CausePath": f"{path}.Cause"}
