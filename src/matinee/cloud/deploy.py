"""From whatever there is to a stack that runs this code: each step looks first and may be repeated.

A stack is made in two passes, since code must lie in the bucket before Airflow starts: first the
bucket and SageMaker's role; then the code is uploaded, whole, into the folder of its version; then
the stack is brought to that version by a change set. What a broken off command left is waited for,
removed, or gone on with; what nobody but the user can mend is refused with its reason.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from botocore.exceptions import ClientError

from matinee.cloud.account import Account
from matinee.cloud.bundle import Bundle
from matinee.cloud.errors import AWSStackError
from matinee.cloud.install_log import last_lines
from matinee.cloud.stack import NEVER_CREATED, POLL_S, TAG, Described, Event, Stack
from matinee.cloud.template import CODE_VERSION, Template

_CAPABILITIES = ["CAPABILITY_IAM"]
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")


class Change(NamedTuple):
    """What an update does to one resource; `is_replaced`: another takes its place."""

    action: str
    resource: str
    type: str
    is_replaced: bool


class Reporter(Protocol):
    """Whoever is told what is being done."""

    def say(self, line: str) -> None:
        """Take a line."""

    def changes(self, changes: list[Change]) -> None:
        """Take what an update is about to do."""

    def watching(self, name: str) -> AbstractContextManager[Callable[[Event], None]]:
        """Give what is told the events of a stack."""


class Deployed(NamedTuple):
    """The stack as it is at the end, and whether anything was to be done to it."""

    stack: Described
    has_changed: bool


class Deployment:
    """One stack, and what it is to become.

    Parameters
    ----------
    stack
    template
    bundle
        The code.
    parameters
        Of the template, as the user chose them; the others keep their values, or have the
        template's defaults.
    reporter
    token
        Letters and digits that no other deployment has: it names the change set, so one that was
        broken off is not in the way.
    sleep
        Waits, in seconds.

    Raises
    ------
    TemplateError
        If the template refuses a parameter.
    """

    def __init__(
        self,
        stack: Stack,
        template: Template,
        bundle: Bundle,
        parameters: Mapping[str, str],
        reporter: Reporter,
        *,
        token: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._stack = stack
        self._template = template
        self._bundle = bundle
        self._parameters = parameters
        self._reporter = reporter
        self._change_set_name = f"matinee-{token}"
        self._sleep = sleep
        self._log: list[str] = []
        self._template.check(parameters)

    def deploy(self) -> Deployed:
        """Bring the stack to this code and these parameters.

        Raises
        ------
        AWSStackError
            If it cannot be, with the reason of the resource that failed first.
        """
        described = settle(self._stack, self._reporter)
        if described is None:
            described = self._create()
        if described.kind is not self._template.kind:
            raise AWSStackError(
                f"stack {self._stack.name} is of kind {described.kind}; another kind is another"
                f" stack: --stack NAME, or `matinee cloud destroy --stack {self._stack.name}` first"
            )
        bucket = described.outputs["Bucket"]
        version = self._bundle.version
        sent = upload(self._stack.account, bucket, self._bundle)
        self._reporter.say(
            f"code {version} lies in s3://{bucket}/code/{version}/: {len(sent)} of"
            f" {len(self._bundle.files)} files were uploaded"
        )
        changes = self._prepare(described, bucket)
        if changes is None:
            self._reporter.say(f"stack {self._stack.name} has this code already: nothing to change")
            return Deployed(described, has_changed=False)
        self._reporter.changes(changes)
        done = self._act(
            described.id,
            lambda: self._stack.client.execute_change_set(
                StackName=self._stack.name, ChangeSetName=self._change_set_name
            ),
        )
        return Deployed(self._require(done, described.id, "UPDATE_COMPLETE"), has_changed=True)

    def _create(self) -> Described:
        """Make the first pass: the bucket and SageMaker's role."""
        name = self._stack.name
        self._reporter.say(f"creating stack {name} with the bucket and SageMaker's role")
        stack_id: str = self._stack.client.create_stack(
            StackName=name,
            TemplateBody=self._template.first_pass(),
            Parameters=_given(self._parameters),
            Capabilities=_CAPABILITIES,
            Tags=[{"Key": TAG, "Value": name}],
        )["StackId"]
        with self._reporter.watching(name) as show:
            done = self._stack.follow(stack_id, show)
        return self._require(done, stack_id, "CREATE_COMPLETE")

    def _prepare(self, described: Described, bucket: str) -> list[Change] | None:
        """Make the change set of the second pass; None if it changes nothing."""
        client, name = self._stack.client, self._stack.name
        template = f"templates/{self._template.digest}.yaml"
        put(self._stack.account, bucket, template, self._template.text.encode())
        chosen = {**self._parameters, CODE_VERSION: self._bundle.version}
        kept = [
            {"ParameterKey": parameter, "UsePreviousValue": True}
            for parameter in self._template.parameters
            if parameter in described.parameters and parameter not in chosen
        ]
        account = self._stack.account
        client.create_change_set(
            StackName=name,
            ChangeSetName=self._change_set_name,
            ChangeSetType="UPDATE",
            # CloudFormation reads it itself, from AWS's own address.
            TemplateURL=f"https://s3.{account.region}.{account.domain}/{bucket}/{template}",
            Parameters=_given(chosen) + kept,
            Capabilities=_CAPABILITIES,
            Tags=[{"Key": TAG, "Value": name}],
        )
        while (answer := self._change_set())["Status"] not in ("CREATE_COMPLETE", "FAILED"):
            self._sleep(POLL_S)
        if answer["Status"] == "CREATE_COMPLETE":
            return self._changes(answer)
        client.delete_change_set(StackName=name, ChangeSetName=self._change_set_name)
        reason = answer.get("StatusReason", "no reason given")
        if any(words in reason for words in _NO_CHANGES):
            return None
        raise AWSStackError(f"stack {name} cannot be changed: {reason}")

    def _change_set(self, **more: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._stack.client.describe_change_set(
            StackName=self._stack.name, ChangeSetName=self._change_set_name, **more
        )
        return answer

    def _changes(self, answer: dict[str, Any]) -> list[Change]:
        changes = []
        while True:
            for each in answer.get("Changes", ()):
                change = each["ResourceChange"]
                changes.append(
                    Change(
                        change["Action"],
                        change["LogicalResourceId"],
                        change["ResourceType"],
                        change.get("Replacement") == "True",
                    )
                )
            if "NextToken" not in answer:
                return changes
            answer = self._change_set(NextToken=answer["NextToken"])

    def _act(self, stack_id: str, action: Callable[[], Any]) -> Described | None:
        with self._reporter.watching(self._stack.name) as show:

            def look(event: Event) -> None:
                show(event)
                if event.is_failure and not self._log:
                    self._log = last_lines(self._stack.account, self._stack.name)

            return self._stack.act(stack_id, action, look)

    def _require(self, done: Described | None, stack_id: str, status: str) -> Described:
        if done is None:
            raise AWSStackError(f"stack {self._stack.name} was deleted meanwhile")
        if done.status != status:
            reason = self._stack.first_failure(stack_id) or done.reason
            log = "".join(f"\n  {line}" for line in self._log)
            after = f"\nThe end of the instance's install log:{log}" if log else ""
            raise AWSStackError(f"stack {self._stack.name} is {done.status}. {reason}{after}")
        return done


def settle(stack: Stack, reporter: Reporter) -> Described | None:
    """Bring a stack to rest in a state that it can be updated in; None if there is none then.

    Waits for what is under way, removes a stack whose creation failed, goes on with a rollback that
    stopped.

    Raises
    ------
    AWSStackError
        If only the user can mend it, with the reason.
    """
    tried: set[str] = set()
    while (described := stack.describe()) is not None:
        status = described.status
        if described.is_moving:
            reporter.say(f"stack {stack.name} is {status}: waiting for it")
            with reporter.watching(stack.name) as show:
                stack.follow(described.id, show)
            continue
        if status in tried:
            break
        tried.add(status)
        if status in NEVER_CREATED:
            reporter.say(f"stack {stack.name} is {status}, never created: removing it")
            action = _call(stack.client.delete_stack, StackName=described.id)
        elif status == "UPDATE_ROLLBACK_FAILED":
            reporter.say(f"stack {stack.name} is {status}: going on with the rollback")
            action = _call(stack.client.continue_update_rollback, StackName=described.id)
        elif status == "UPDATE_FAILED":
            reporter.say(f"stack {stack.name} is {status}: rolling it back")
            action = _call(stack.client.rollback_stack, StackName=described.id)
        elif status == "DELETE_COMPLETE":
            return None
        elif status.endswith("_COMPLETE"):
            return described
        else:
            break
        with reporter.watching(stack.name) as show:
            stack.act(described.id, action, show)
    if described is None:
        return None
    reason = stack.first_failure(described.id) or described.reason
    raise AWSStackError(
        f"stack {stack.name} is {described.status} and cannot be updated. {reason}. Mend that, or"
        f" remove all of it: `matinee cloud destroy --stack {stack.name}`"
    )


def upload(account: Account, bucket: str, bundle: Bundle) -> list[str]:
    """Put the files that are not in the bucket yet into their version's folder; return which."""
    return [
        name
        for name, content in sorted(bundle.files.items())
        if put(account, bucket, f"code/{bundle.version}/{name}", content)
    ]


def put(account: Account, bucket: str, key: str, content: bytes) -> bool:
    """Write an object whole, unless it is there with this content; say whether it was written."""
    digest = hashlib.sha256(content).hexdigest()
    s3 = account.client("s3")
    if stored_digest(account, bucket, key) == digest:
        return False
    s3.put_object(Bucket=bucket, Key=key, Body=content, Metadata={"sha256": digest})
    return True


def stored_digest(account: Account, bucket: str, key: str) -> str | None:
    """Return the SHA-256 that an object was written with; None if it is not there."""
    try:
        head = account.client("s3").head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise
    digest: str | None = head["Metadata"].get("sha256")
    return digest


def _given(parameters: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]


def _call(operation: Callable[..., Any], **request: Any) -> Callable[[], Any]:
    return lambda: operation(**request)
