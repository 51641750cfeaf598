"""Executions of the state machine on the tests' own AWS."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from matinee.stepfunctions.definition import definition, substituted, undecided
from matinee.stepfunctions.execution import Execution, folder, reason
from tests.conftest import AWS

ROLE = "arn:aws:iam::000000000000:role/matinee-sagemaker"


@dataclass(frozen=True)
class Done:
    """An execution that has ended.

    Attributes
    ----------
    run
        The run's name.
    states
        Those that it entered, in order.
    end
        What came of it.
    """

    run: str
    states: list[str]
    end: dict[str, Any]

    @property
    def reason(self) -> str:
        """Why it failed, as users read it."""
        return reason(self.end)


def machine(bucket: str) -> str:
    """Return the state machine of a deployment with this bucket."""
    return substituted(
        definition(),
        {
            **undecided(),
            "SageMakerRoleArn": ROLE,
            "WorkflowImage": "matinee-python",
            "Partition": "aws",
            "Bucket": bucket,
        },
    )


def execute(aws: AWS, bucket: str, **parameters: Any) -> Done:
    """Run the workflow to its end."""
    states, run = [], ""
    environment = {**os.environ, **aws.environment}
    with Execution(machine(bucket), {"parameters": parameters}, "test", environment) as execution:
        for event in execution.events():
            details = event["details"]
            if event["type"].endswith("StateEntered"):
                states.append(details["name"])
            if event["type"] == "PassStateExited" and details["name"] == "Parameters":
                run = json.loads(details["output"])["run"]
    assert execution.end is not None
    return Done(run, states, execution.end)


def written(aws: AWS, folder_uri: str) -> dict[str, bytes]:
    """Return the objects below a folder, by their keys in it."""
    client = aws.client("s3")
    bucket, _, key = folder_uri.removeprefix("s3://").partition("/")
    found = client.list_objects_v2(Bucket=bucket, Prefix=f"{key}/").get("Contents", [])
    objects = {
        item["Key"].removeprefix(f"{key}/"): client.get_object(Bucket=bucket, Key=item["Key"])[
            "Body"
        ].read()
        for item in found
    }
    client.close()
    return objects


def handed_on(aws: AWS, bucket: str, run: str, document: str) -> Any:
    """Return a document that the jobs of a run handed on."""
    return json.loads(written(aws, folder(bucket, run))[f"{document}.json"])
