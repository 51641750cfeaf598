"""moto's interpreter of the Amazon States Language, made fit for SageMaker; needs the extra
`stepfunctions`.

moto 5.2 walks states, retries and catches as AWS does, but forwards `sagemaker:` tasks without
waiting for their jobs, talks to its own server with keys of its own, neither writes JSON objects to
S3 nor reads objects as text, takes `RoleArn.$` for a literal and the second try of a job for a
timeout, and refuses to fail with an error that AWS named. `prepare` mends that in the process that
calls it, for boto3's own credentials and endpoints. Jobs are looked at twice a second.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import boto3
from botocore.exceptions import ClientError


def _no_batch() -> Any:
    raise ValueError("AWS Batch is not among the services of this interpreter")


# moto's tasks of AWS Batch load its whole EC2, which takes seconds, and no machine of ours has one.
_BATCH = ModuleType(
    "moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_batch"
)
_BATCH.StateTaskServiceBatch = _no_batch  # type: ignore[attr-defined]
sys.modules.setdefault(_BATCH.__name__, _BATCH)

# ruff: noqa: E402 - what follows is to find it there
from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.payload.payloadvalue.payloadbinding import (
    payload_binding,
)
from moto.stepfunctions.parser.asl.component.common.string.string_expression import StringJsonPath
from moto.stepfunctions.parser.asl.component.state.exec.state_task import state_task_factory
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_aws_sdk,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import (
    ResourceCondition,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import (  # noqa: E501 - its name
    StateTaskService,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (  # noqa: E501 - its name
    StateTaskServiceAwsSdk,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_callback import (  # noqa: E501 - its name
    StateTaskServiceCallback,
)
from moto.stepfunctions.parser.asl.component.state.fail import state_fail
from moto.stepfunctions.parser.asl.parse import preprocessor
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str

logger = logging.getLogger(__name__)


class _Kind(NamedTuple):
    """How boto3 speaks of a kind of job."""

    noun: str
    describe: str
    stop: str


_KINDS = {
    "create_processing_job": _Kind(
        "ProcessingJob", "describe_processing_job", "stop_processing_job"
    ),
    "create_training_job": _Kind("TrainingJob", "describe_training_job", "stop_training_job"),
    "create_hyper_parameter_tuning_job": _Kind(
        "HyperParameterTuningJob",
        "describe_hyper_parameter_tuning_job",
        "stop_hyper_parameter_tuning_job",
    ),
    "create_transform_job": _Kind("TransformJob", "describe_transform_job", "stop_transform_job"),
}
# Jobs that an execution waits for; a stopped execution stops them.
_running: dict[str, _Kind] = {}
_lock = threading.Lock()


def client(region: str, service: str, state_credentials: Any = None) -> Any:  # noqa: ARG001 - moto's
    """Return a client as every program of matinee has it: keys and endpoints by the environment."""
    return boto3.client(service, region_name=region)


class SageMakerTask(StateTaskServiceCallback):  # type: ignore[misc]  # moto is untyped
    """A task `sagemaker:createX` or `sagemaker:createX.sync`."""

    def __init__(self) -> None:
        # moto waits without a token in none of its services: it trips over the missing callback.
        super().__init__({ResourceCondition.Sync, ResourceCondition.WaitForTaskToken})

    def _validate_service_integration_is_supported(self) -> None:
        action = self._get_boto_service_action()
        if self.resource.condition is not None and action not in _KINDS:
            raise ValueError(f"{self.resource.resource_arn}: nothing is known to wait for")

    def _from_error(self, env: Any, ex: Exception) -> Any:
        if not isinstance(ex, ClientError):
            return super()._from_error(env=env, ex=ex)
        answer = ex.response["Error"]
        # As AWS names them: the errors that SageMaker's model declares, and one for the rest.
        declared = answer["Code"] in ("ResourceInUse", "ResourceLimitExceeded", "ResourceNotFound")
        name = f"SageMaker.{answer['Code'] if declared else 'AmazonSageMaker'}Exception"
        return self._failure(env, name, f"{answer['Message']} (Error Code: {answer['Code']})")

    def _eval_service_task(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,  # noqa: ARG002 - moto's
    ) -> None:
        action = self._get_boto_service_action()
        sagemaker = client(resource_runtime_part.region, "sagemaker")
        response = getattr(sagemaker, action)(**normalised_parameters)
        response.pop("ResponseMetadata", None)
        env.stack.append(response)

    def _eval_sync(
        self,
        env: Any,
        sync_resolver: Callable[[], Any] | None,
        timeout_seconds: int | None,
        callback_endpoint: Any,  # noqa: ARG002 - moto's
        heartbeat_endpoint: Any,  # noqa: ARG002 - moto's
    ) -> Any:
        # A try after the first finds its callback interrupted, and would take that for a timeout.
        return super()._eval_sync(env, sync_resolver, timeout_seconds, None, None)

    def _build_sync_resolver(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,  # noqa: ARG002 - moto's
    ) -> Callable[[], Any]:
        env.stack.pop()
        kind = _KINDS[self._get_boto_service_action()]
        sagemaker = client(resource_runtime_part.region, "sagemaker")
        name = normalised_parameters[f"{kind.noun}Name"]
        with _lock:
            _running[name] = kind

        def look() -> Any:
            described = getattr(sagemaker, kind.describe)(**{f"{kind.noun}Name": name})
            status = described[f"{kind.noun}Status"]
            if status in ("InProgress", "Stopping"):
                return None
            with _lock:
                _running.pop(name, None)
            described.pop("ResponseMetadata", None)
            if status == "Completed":
                return described
            raise FailureEventException(
                self._failure(env, "States.TaskFailed", to_json_str(described))
            )

        return look

    def _failure(self, env: Any, error: str, cause: str) -> Any:
        details = TaskFailedEventDetails(
            error=error,
            cause=cause,
            resource=self._get_sfn_resource(),
            resourceType=self._get_sfn_resource_type(),
        )
        return FailureEvent(
            env=env,
            error_name=ErrorName(error),
            event_type=HistoryEventType.TaskFailed,
            event_details={"taskFailedEventDetails": details},
        )


def stop_running(region: str) -> list[str]:
    """Stop the jobs that a stopped execution waited for, as AWS does; return their names."""
    sagemaker = client(region, "sagemaker")
    with _lock:
        left = dict(_running)
        _running.clear()
    for name, kind in left.items():
        try:
            getattr(sagemaker, kind.stop)(**{f"{kind.noun}Name": name})
        except ClientError as error:
            # It ended by itself meanwhile.
            logger.info("%s was not stopped: %s", name, error)
    return list(left)


class _SdkTask(StateTaskServiceAwsSdk):  # type: ignore[misc]  # moto is untyped
    """A task `aws-sdk:service:action`: its blobs are JSON, its streams text."""

    def _normalise_parameters(
        self,
        parameters: dict[str, Any],
        boto_service_name: str | None = None,
        service_action_name: str | None = None,
    ) -> None:
        shape = self._operation(boto_service_name, service_action_name).input_shape
        for name, value in parameters.items():
            if shape.members[name].type_name == "blob":
                parameters[name] = to_json_str(value, separators=(",", ":")).encode()

    def _normalise_response(
        self,
        response: Any,
        boto_service_name: str | None = None,
        service_action_name: str | None = None,
    ) -> None:
        shape = self._operation(boto_service_name, service_action_name).output_shape
        self._from_boto_response(response, shape)

    def _operation(self, service: str | None, action: str | None) -> Any:
        model = client("us-east-1", self._get_boto_service_name(service)).meta
        method = self._get_boto_service_action(action)
        return model.service_model.operation_model(model.method_to_api_mapping[method])


def prepare() -> None:
    """Mend moto's interpreter in this process; see above."""
    of_moto = state_task_factory.state_task_service_for

    def task_for(service_name: str) -> StateTaskService:
        own = {"sagemaker": SageMakerTask, "aws-sdk": _SdkTask}.get(service_name)
        return of_moto(service_name) if own is None else own()

    state_task_factory.state_task_service_for = task_for
    state_task_service_aws_sdk.boto_client_for = client
    state_fail.CustomErrorName = ErrorName
    visit = preprocessor.Preprocessor.visitPayload_binding_value

    def visit_binding(self: Any, context: Any) -> Any:
        found = visit(self, context)
        literal = getattr(found.payload_value, "val", None)
        if not found.field.endswith(".$") or not isinstance(literal, str):
            return found
        return payload_binding.PayloadBindingStringExpressionSimple(
            found.field.removesuffix(".$"), StringJsonPath(literal)
        )

    preprocessor.Preprocessor.visitPayload_binding_value = visit_binding
