"""Stacks on the emulator: deployed by what the tests of `matinee cloud` have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3

from matinee.cloud.bundle import Bundle
from matinee.cloud.deploy import Change, Deployed, Deployment
from matinee.cloud.stack import Described, Event, Stack
from matinee.cloud.template import Kind, Template

NAME = "matinee-test"
BUNDLE = Bundle({"matinee-1-py3-none-any.whl": b"wheel", "constraints.txt": b"numpy==2\n"})
EC2 = Template.of(Kind.EC2)
# As much of it as takes little time.
SMALL = Template(
    json.dumps(
        {
            **EC2.body,
            "Resources": {
                name: EC2.body["Resources"][name]
                for name in ("Bucket", "BucketPolicy", "SageMakerRole", "LogGroup")
            },
            "Outputs": {name: EC2.body["Outputs"][name] for name in ("Bucket", "SageMakerRoleArn")},
        }
    )
)
OTHER = Bundle({**BUNDLE.files, "constraints.txt": b"numpy==3\n"})


class Notes:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.changed: list[Change] = []
        self.events: list[Event] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def changes(self, changes: list[Change]) -> None:
        self.changed += changes

    @contextmanager
    def watching(self, name: str) -> Iterator[Callable[[Event], None]]:
        assert name == NAME
        yield self.events.append


def never(seconds: float) -> None:
    raise AssertionError(f"the emulator does everything at once: no {seconds} s to wait for")


def deploy(
    stack: Stack,
    bundle: Bundle = BUNDLE,
    notes: Notes | None = None,
    template: Template = EC2,
    **parameters: str,
) -> Deployed:
    return Deployment(
        stack, template, bundle, parameters, notes or Notes(), token="t1", sleep=never
    ).deploy()


def create(stack: Stack, template: Template = SMALL) -> Described:
    """Make a stack in one pass, as `deploy` leaves it but for the code."""
    stack.client.create_stack(
        StackName=stack.name,
        TemplateBody=template.text,
        Parameters=[{"ParameterKey": "CodeVersion", "ParameterValue": "1"}],
        Capabilities=["CAPABILITY_IAM"],
        Tags=[{"Key": "matinee", "Value": stack.name}],
    )
    described = stack.describe()
    assert described is not None
    return described


class Breaking:
    """A session whose n-th call that changes something is never sent.

    Breaking before a call that only looks leaves the same as breaking before the next that changes.
    """

    def __init__(self) -> None:
        self._left = 0
        self.session = boto3.Session()
        self.session.events.register("before-send", self._count)

    def arm(self, number: int) -> None:
        """Let the call of this number be the one; 0: none is."""
        self._left = number

    def _count(self, event_name: str, **_: Any) -> None:
        if not event_name.rpartition(".")[2].startswith(("Describe", "Get", "Head", "List")):
            self._left -= 1
            if self._left == 0:
                raise KeyboardInterrupt
