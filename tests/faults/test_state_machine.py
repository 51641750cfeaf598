"""Any order of creates, stops, deletes and tags agrees with a dictionary, over the wire."""

from __future__ import annotations

from typing import Any

import hypothesis
from botocore.exceptions import ClientError
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.faults.ledger import ENDS
from tests.sagemaker.jobs.conftest import IMAGE, ROLE, Jobs

NAMES = st.sampled_from(["a", "b", "c"])
KEYS = st.sampled_from(["x", "y", "aws-like"])
TAKEN, MISSING = "taken", "missing"
_WORDS = {
    TAKEN: ("ResourceInUse", "already existing", "already exists"),
    MISSING: ("ResourceNotFound", "could not find", "not found", "does not exist"),
}


class Resources(RuleBasedStateMachine):
    """Models, their tags, endpoint configurations and training jobs of one caller."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self.jobs = jobs
        self.client = jobs.sagemaker
        self.prefix = jobs.new_name("machine")
        self.models: dict[str, dict[str, str]] = {}
        self.configs: dict[str, str] = {}
        self.trainings: dict[str, str] = {}

    def named(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def ask(self, expected: str, operation: str, **request: Any) -> dict[str, Any]:
        """Call an operation that is expected to succeed, or to say what is wrong."""
        try:
            answer: dict[str, Any] = getattr(self.client, operation)(**request)
        except ClientError as error:
            said = f"{error.response['Error']['Code']}: {error.response['Error']['Message']}"
            assert expected, f"{operation}: {said}"
            assert any(words.lower() in said.lower() for words in _WORDS[expected]), said
            return {}
        assert not expected, f"{operation} should say {expected}: {answer}"
        return answer

    # Models and tags

    @rule(name=NAMES)
    def create_model(self, name: str) -> None:
        container = {"Image": IMAGE, "Environment": {"A": name}}
        self.ask(
            TAKEN if name in self.models else "",
            "create_model",
            ModelName=self.named(name),
            PrimaryContainer=container,
            ExecutionRoleArn=ROLE,
            Tags=[{"Key": "made", "Value": "here"}],
        )
        self.models.setdefault(name, {"made": "here"})

    @rule(name=NAMES)
    def delete_model(self, name: str) -> None:
        expected = "" if name in self.models else MISSING
        self.ask(expected, "delete_model", ModelName=self.named(name))
        self.models.pop(name, None)

    def arn(self, name: str) -> str:
        return f"arn:aws:sagemaker:us-east-1:000000000000:model/{self.named(name)}"

    @precondition(lambda self: self.models)
    @rule(data=st.data(), key=KEYS, value=st.text("ab ü", max_size=3))
    def tag(self, data: st.DataObject, key: str, value: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.models)))
        tags = [{"Key": key, "Value": value}]
        self.ask("", "add_tags", ResourceArn=self.arn(name), Tags=tags)
        self.models[name][key] = value

    @precondition(lambda self: self.models)
    @rule(data=st.data(), key=KEYS)
    def untag(self, data: st.DataObject, key: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.models)))
        self.ask("", "delete_tags", ResourceArn=self.arn(name), TagKeys=[key])
        self.models[name].pop(key, None)

    # Endpoint configurations, which need their model only when they are made

    @rule(name=NAMES, model=NAMES)
    def create_config(self, name: str, model: str) -> None:
        if name in self.configs and model not in self.models:
            return  # either may be said
        expected = "" if model in self.models else MISSING
        variant = {
            "VariantName": "A",
            "ModelName": self.named(model),
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
        }
        self.ask(
            TAKEN if name in self.configs else expected,
            "create_endpoint_config",
            EndpointConfigName=self.named(name),
            ProductionVariants=[variant],
        )
        if not expected:
            self.configs.setdefault(name, model)

    @rule(name=NAMES)
    def delete_config(self, name: str) -> None:
        expected = "" if name in self.configs else MISSING
        self.ask(expected, "delete_endpoint_config", EndpointConfigName=self.named(name))
        self.configs.pop(name, None)

    # Training jobs

    @rule(name=NAMES, ends=st.booleans())
    def train(self, name: str, ends: bool) -> None:
        changes = {} if ends else {"failure": "ClientError: as told", "exit": "1"}
        request = self.jobs.training_request(self.named(name), **changes)
        self.ask(TAKEN if name in self.trainings else "", "create_training_job", **request)
        self.trainings.setdefault(name, "InProgress")

    @rule(name=NAMES)
    def stop_training(self, name: str) -> None:
        try:
            self.client.stop_training_job(TrainingJobName=self.named(name))
        except ClientError as error:
            said = error.response["Error"]["Message"]
            if name in self.trainings:
                # It has ended by itself meanwhile.
                assert self.look_at_training(name) in ENDS, said
            else:
                assert any(words in said.lower() for words in _WORDS[MISSING]), said
        else:
            assert name in self.trainings
            assert self.trainings[name] not in ENDS
            self.trainings[name] = "Stopping"

    @precondition(lambda self: self.trainings)
    @rule(data=st.data())
    def describe_training(self, data: st.DataObject) -> None:
        self.look_at_training(data.draw(st.sampled_from(sorted(self.trainings))))

    def look_at_training(self, name: str) -> str:
        described = self.client.describe_training_job(TrainingJobName=self.named(name))
        before, now = self.trainings[name], described["TrainingJobStatus"]
        assert now in {
            "InProgress": {"InProgress", "Completed", "Failed"},
            "Stopping": {"Stopping", "Stopped", "Completed", "Failed"},
        }.get(before, {before})
        self.trainings[name] = now
        return str(now)

    # What must always be so

    @invariant()
    def lists_agree(self) -> None:
        for operation, member, summaries, known in (
            ("list_models", "ModelName", "Models", self.models),
            ("list_endpoint_configs", "EndpointConfigName", "EndpointConfigs", self.configs),
            ("list_training_jobs", "TrainingJobName", "TrainingJobSummaries", self.trainings),
        ):
            found = getattr(self.client, operation)(NameContains=f"{self.prefix}-")[summaries]
            assert sorted(item[member] for item in found) == sorted(map(self.named, known))

    @invariant()
    def tags_agree(self) -> None:
        for name, tags in self.models.items():
            found = self.client.list_tags(ResourceArn=self.arn(name))["Tags"]
            assert {tag["Key"]: tag["Value"] for tag in found} == tags


def test_any_order_agrees_with_a_dictionary(jobs: Jobs) -> None:
    class Machine(Resources):
        def __init__(self) -> None:
            super().__init__(jobs)

    run_state_machine_as_test(
        Machine,
        settings=hypothesis.settings(
            max_examples=12,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
