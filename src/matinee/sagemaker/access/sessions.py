"""Temporary keys of roles: what a job's process gets, and what AssumeRole answers.

The S3 server's own STS makes them: a session of the server's key pair, narrowed by a session policy
to what the role's policies say about S3. So S3 itself refuses what the role may not, and the same
keys sign for the services here, which find them in the store. An S3 without STS cannot limit a
role: then jobs fail and say so, unless the operator lets them use the server's own keys.
"""

from __future__ import annotations

import hashlib
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import boto3
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError

from matinee.sagemaker.access.policies import Policy, matches
from matinee.sagemaker.access.roles import Role, Roles
from matinee.sagemaker.data.objects import ObjectRefusedError, Objects, UnreachableError
from matinee.sagemaker.http.auth import Caller, TemporaryKeys
from matinee.sagemaker.store import Query, Resource, Store

SESSION = "Session"
# The longest a session may be; a process cannot be given new keys while it runs.
JOB_SESSION = timedelta(hours=12)
# A process that starts gets keys that are good for at least so long.
_LEAST_LEFT = timedelta(hours=11)
# AWS's limit for a session policy, which S3 servers share.
SESSION_POLICY_LIMIT = 2048
_JOB_SESSION_NAME = "SageMaker"
_NOTHING = {"Effect": "Deny", "Action": ["*"], "Resource": ["*"]}


@dataclass(frozen=True, slots=True, repr=False)
class Session:
    """Temporary keys; they have no repr, so that they get into no log.

    Attributes
    ----------
    access_key_id, secret_access_key, token
        What requests are signed with.
    expires
        When they end.
    role
        ARN of the role.
    name
        The session's own name.
    """

    access_key_id: str
    secret_access_key: str
    token: str
    expires: datetime
    role: str
    name: str


class JobAccess(ABC):
    """How jobs get at S3."""

    @abstractmethod
    def environment(self, role: str) -> dict[str, str]:
        """Return the variables by which AWS clients of a process act as a role.

        Raises
        ------
        ObjectsError
            The S3 server gives no keys for it.
        """

    @abstractmethod
    def objects(self, role: str) -> Objects:
        """Return S3 as a role may use it."""

    @abstractmethod
    def assume(self, role: Role, name: str, seconds: int) -> Session:
        """Begin a session of a role.

        Raises
        ------
        ObjectsError
            The S3 server gives no keys for it.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connections."""


class ServerKeys(JobAccess):
    """Jobs use the server's own key pair, whatever their role.

    Parameters
    ----------
    objects
        The server's own S3.
    variables
        What a process gets: keys and endpoints.
    """

    def __init__(self, objects: Objects, variables: Mapping[str, str]) -> None:
        self._objects = objects
        self._variables = variables

    def environment(self, role: str) -> dict[str, str]:  # noqa: ARG002 - the interface's
        """Return the server's keys."""
        return dict(self._variables)

    def objects(self, role: str) -> Objects:  # noqa: ARG002 - the interface's
        """Return the server's own S3."""
        return self._objects

    def assume(self, role: Role, name: str, seconds: int) -> Session:  # noqa: ARG002 - the interface's
        """Refuse: without STS nobody could limit what the keys may do."""
        raise ObjectRefusedError(
            f"no temporary keys of {role.arn}: this server lets jobs use its own keys "
            "(--jobs-use-server-keys)"
        )

    def close(self) -> None:
        """Do nothing: the server's own S3 is closed by the server."""


class RoleSessions(JobAccess):
    """Jobs use temporary keys of their role, made by the S3 server's STS.

    Parameters
    ----------
    store
        Where sessions are remembered until they end.
    clock
        The present as an aware datetime.
    roles
        What roles may do.
    s3_endpoint
        The S3 server, which answers STS at the same address.
    access_key_id, secret_access_key, region
        The server's key pair.
    variables
        More for a process's environment: endpoints.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Callable[[], datetime],
        roles: Roles,
        s3_endpoint: str,
        access_key_id: str,
        secret_access_key: str,
        region: str,
        variables: Mapping[str, str],
    ) -> None:
        self._store = store
        self._clock = clock
        self._roles = roles
        self._s3_endpoint = s3_endpoint
        self._region = region
        self._variables = variables
        self._lock = threading.Lock()
        self._objects: dict[str, Objects] = {}
        # By role, with what it allowed: a changed role gets new keys.
        self._sessions: dict[str, tuple[str, Session]] = {}
        session = boto3.Session(
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            region_name=region,
        )
        self._sts: Any = session.client(
            "sts",
            endpoint_url=s3_endpoint,
            config=Config(
                connect_timeout=5,
                read_timeout=10,
                retries={"mode": "standard", "total_max_attempts": 3},
                # A RoleArn would have to be one of the S3 server's own roles; without it, it makes
                # a session of the caller, which the session policy narrows.
                parameter_validation=False,
            ),
        )

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for objects in self._objects.values():
                objects.close()
        self._sts.close()

    def environment(self, role: str) -> dict[str, str]:
        """Return the variables by which AWS clients of a process act as a role.

        Raises
        ------
        ObjectRefusedError, UnreachableError
            The S3 server gives no keys for it.
        """
        session = self._job_session(role)
        return {
            **self._variables,
            "AWS_ACCESS_KEY_ID": session.access_key_id,
            "AWS_SECRET_ACCESS_KEY": session.secret_access_key,
            "AWS_SESSION_TOKEN": session.token,
        }

    def objects(self, role: str) -> Objects:
        """Return S3 as a role may use it: at each request, what it may do by then."""
        with self._lock:
            if role not in self._objects:
                self._objects[role] = Objects(
                    endpoint_url=self._s3_endpoint,
                    region=self._region,
                    credentials=_RoleKeys(lambda: self._job_session(role)),
                )
            return self._objects[role]

    def assume(self, role: Role, name: str, seconds: int) -> Session:
        """Begin a session of a role, and remember it.

        Raises
        ------
        ObjectRefusedError, UnreachableError
            The S3 server gives no keys for it.
        """
        return self._assume(role, s3_policy(role, self._roles.policies(role)), name, seconds)

    def _assume(self, role: Role, policy: str, name: str, seconds: int) -> Session:
        try:
            answer = self._sts.assume_role(
                RoleSessionName=name, DurationSeconds=seconds, Policy=policy
            )
        except ClientError as error:
            raise ObjectRefusedError(
                f"{self._s3_endpoint} gives no temporary keys of {role.arn} ({error}); the S3 of "
                "the jobs must answer sts:AssumeRole, or the server be started with "
                "--jobs-use-server-keys"
            ) from error
        except BotoCoreError as error:
            raise UnreachableError(f"temporary keys of {role.arn}: {error}") from error
        keys = answer["Credentials"]
        session = Session(
            keys["AccessKeyId"],
            keys["SecretAccessKey"],
            keys["SessionToken"],
            keys["Expiration"],
            role.arn,
            name,
        )
        self._remember(session)
        return session

    def _remember(self, session: Session) -> None:
        now = self._clock()
        for old in self._store.page(Query(kind=SESSION), 100):
            if old.private["expires"] < now:
                self._store.delete(SESSION, old.name)
        token_hash = hashlib.sha256(session.token.encode()).hexdigest()
        private = {
            "secret_access_key": session.secret_access_key,
            "token_hash": token_hash,
            "expires": session.expires,
            "name": session.name,
        }
        key = session.access_key_id
        arn = f"{session.role}#{key}"
        self._store.insert(Resource(SESSION, key, arn, "", now, now, {}, private, session.role))

    def _job_session(self, arn: str) -> Session:
        role = self._roles.of_arn(arn)
        if role is None:
            raise ObjectRefusedError(f"the role {arn} does not exist any more")
        policy = s3_policy(role, self._roles.policies(role))
        # Outside of the lock: two at once make two sessions, and either will do.
        allowed, session = self._sessions.get(arn, ("", None))
        if session is None or allowed != policy or session.expires - self._clock() < _LEAST_LEFT:
            seconds = int(JOB_SESSION.total_seconds())
            session = self._assume(role, policy, _JOB_SESSION_NAME, seconds)
            self._sessions[arn] = policy, session
        return session


class _RoleKeys(Credentials):  # type: ignore[misc]  # botocore is untyped
    """Keys that are asked for anew whenever a request is signed.

    Parameters
    ----------
    session
        Returns the role's session.
    """

    def __init__(self, session: Callable[[], Session]) -> None:
        super().__init__("", "", method="assume-role")
        self._session = session

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Return the keys to sign with."""
        session = self._session()
        return ReadOnlyCredentials(session.access_key_id, session.secret_access_key, session.token)


def temporary_keys(store: Store, access_key_id: str) -> TemporaryKeys | None:
    """Return what is known of the session with this key id."""
    resource = store.get(SESSION, access_key_id)
    if resource is None:
        return None
    private = resource.private
    caller = Caller(role=resource.parent, session=private["name"])
    return TemporaryKeys(
        private["secret_access_key"], private["token_hash"], private["expires"], caller
    )


def s3_policy(role: Role, policies: Iterable[Policy]) -> str:
    """Return what a role's policies say about S3 as one short session policy.

    Raises
    ------
    ObjectRefusedError
        It is longer than a session policy may be.
    """
    found = []
    for policy in policies:
        for statement in policy.statements:
            actions = [
                action
                for action in statement.actions
                if matches(action.partition(":")[0].lower(), "s3")
            ]
            if actions:
                entry: dict[str, Any] = {
                    "Effect": "Allow" if statement.allows else "Deny",
                    "Action": actions,
                    "Resource": list(statement.resources),
                }
                if statement.conditions:
                    entry["Condition"] = statement.conditions
                found.append(entry)
    document = {"Version": "2012-10-17", "Statement": found or [_NOTHING]}
    text = json.dumps(document, separators=(",", ":"))
    if len(text) > SESSION_POLICY_LIMIT:
        raise ObjectRefusedError(
            f"what the policies of {role.arn} say about S3 has {len(text)} characters; matinee can "
            f"apply {SESSION_POLICY_LIMIT}"
        )
    return text
