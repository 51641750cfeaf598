"""One CloudFormation stack: how it stands, what is in it, and what happens to it until it rests.

A stack is looked at by its name, and followed by its id, under which AWS still knows it when it is
deleted. Stacks that are not matinee's are refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from botocore.exceptions import ClientError

from matinee.cloud.account import Account
from matinee.cloud.errors import AWSStackError
from matinee.cloud.template import Kind

POLL_S: Final = 3.0
TAG: Final = "matinee"
# Nothing of it ever worked: a stack that could not be created can only be removed.
NEVER_CREATED: Final = {
    "REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED",
}  # fmt: skip
_STACK = "AWS::CloudFormation::Stack"
_BEGINNINGS = {"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"}
# Others were given up because of the first that failed.
_CANCELLED = (
    "Resource creation cancelled",
    "Resource update cancelled",
    "Resource deletion cancel",
)


class Event(NamedTuple):
    """What happened to one resource of a stack."""

    id: str
    resource: str
    type: str
    status: str
    reason: str

    @property
    def is_of_stack(self) -> bool:
        """Whether it is of the stack as a whole."""
        return self.type == _STACK

    @property
    def is_failure(self) -> bool:
        """Whether something failed by itself."""
        return self.status.endswith("_FAILED") and not self.reason.startswith(_CANCELLED)


class Resource(NamedTuple):
    """A resource of a stack: its name in the template, its type, and its own name or id."""

    name: str
    type: str
    id: str


@dataclass(frozen=True)
class Described:
    """How a stack stands.

    Parameters
    ----------
    id
        Its ARN.
    status
        CloudFormation's word for it.
    reason
        CloudFormation's sentence on it, if it has one.
    description
        Of its template.
    parameters, outputs
        By their names.
    """

    id: str
    status: str
    reason: str
    description: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]

    @classmethod
    def of(cls, stack: Mapping[str, Any]) -> Described:
        """Read an answer of DescribeStacks."""
        return cls(
            stack["StackId"],
            stack["StackStatus"],
            stack.get("StackStatusReason", ""),
            stack.get("Description", ""),
            {each["ParameterKey"]: each["ParameterValue"] for each in stack.get("Parameters", ())},
            {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", ())},
        )

    @property
    def is_moving(self) -> bool:
        """Whether CloudFormation is at work on it."""
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"

    @property
    def kind(self) -> Kind | None:
        """Which of matinee's templates it was made from; None if of none."""
        if not self.description.startswith("matinee on AWS:"):
            return None
        return Kind.of(self.parameters)


class Stack:
    """One stack, by its name.

    Parameters
    ----------
    account
    name
    sleep
        Waits, in seconds.
    """

    def __init__(
        self, account: Account, name: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.account = account
        self.name = name
        self._sleep = sleep

    @property
    def client(self) -> Any:
        """Of CloudFormation."""
        return self.account.client("cloudformation")

    def describe(self, stack_id: str | None = None) -> Described | None:
        """Return how the stack stands; None if there is none, or none of this id.

        Raises
        ------
        AWSStackError
            If a stack of this name is not matinee's.
        """
        try:
            (found,) = self.client.describe_stacks(StackName=stack_id or self.name)["Stacks"]
        except ClientError as error:
            if "does not exist" in error.response["Error"]["Message"]:
                return None
            raise
        described = Described.of(found)
        is_foreign = described.kind is None and described.status != "REVIEW_IN_PROGRESS"
        if is_foreign and stack_id is None:
            raise AWSStackError(
                f"stack {self.name} in {self.account.region} is not matinee's: its description is"
                f" {described.description!r}. Choose another name with --stack"
            )
        return described

    def resources(self, stack_id: str | None = None) -> list[Resource]:
        """Return what is in the stack now."""
        found = self.account.pages(
            "cloudformation",
            "list_stack_resources",
            "StackResourceSummaries",
            StackName=stack_id or self.name,
        )
        return [
            Resource(
                each["LogicalResourceId"], each["ResourceType"], each.get("PhysicalResourceId", "")
            )
            for each in found
            if each.get("LogicalResourceId") and each["ResourceStatus"] != "DELETE_COMPLETE"
        ]

    def template(self) -> str:
        """Return the text of the template that it was last made from, as it was given."""
        answer = self.client.get_template(StackName=self.name, TemplateStage="Original")
        body: str = answer["TemplateBody"]
        return body

    def events(self, stack_id: str) -> list[Event]:
        """Return the events of what last began to happen, oldest first."""
        return list(self._events(stack_id))[::-1]

    def first_failure(self, stack_id: str) -> str | None:
        """Return what failed first in what last happened, with its own reason."""
        events = [event for event in self.events(stack_id) if event.is_failure]
        # The stack's own failure only says which resources failed.
        for event in sorted(events, key=lambda event: event.is_of_stack):
            return f"{event.resource} ({event.type}) {event.status}: {event.reason}"
        return None

    def act(
        self, stack_id: str | None, action: Callable[[], Any], show: Callable[[Event], None]
    ) -> Described | None:
        """Do something to the stack, then follow it until it rests.

        Parameters
        ----------
        stack_id
            None for a stack that does not exist yet: then `action` returns it.
        action
            Begins it.
        show
            Is told each event of it.
        """
        before = self._last_of_stack(stack_id) if stack_id else None
        started = action()
        return self.follow(stack_id or str(started), show, after=before)

    def follow(
        self, stack_id: str, show: Callable[[Event], None], *, after: str | None = None
    ) -> Described | None:
        """Show what happens to the stack until it rests.

        Parameters
        ----------
        stack_id
        show
            Is told each event since the present change began.
        after
            The id of an event before it: until there is a later one, it has not begun.
        """
        shown: set[str] = set()
        while True:
            # The state first: what is asked for after its end is how everything ended.
            described = self.describe(stack_id)
            if described is None:
                return None
            has_begun = after is None or self._last_of_stack(stack_id) != after
            if has_begun:
                for event in self.events(stack_id):
                    if event.id not in shown:
                        shown.add(event.id)
                        show(event)
                if not described.is_moving:
                    return described
            self._sleep(POLL_S)

    def _events(self, stack_id: str) -> Iterator[Event]:
        """Yield events, newest first, back to the beginning of what they are about."""
        pages = self.client.get_paginator("describe_stack_events").paginate(StackName=stack_id)
        for page in pages:
            for each in page["StackEvents"]:
                event = Event(
                    each["EventId"],
                    each["LogicalResourceId"],
                    each["ResourceType"],
                    each["ResourceStatus"],
                    each.get("ResourceStatusReason", ""),
                )
                yield event
                if event.is_of_stack and event.status in _BEGINNINGS:
                    return

    def _last_of_stack(self, stack_id: str) -> str | None:
        return next((event.id for event in self._events(stack_id) if event.is_of_stack), None)
