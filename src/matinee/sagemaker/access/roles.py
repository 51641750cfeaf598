"""The IAM roles of this account: who may assume them, and what they allow.

Roles named when the server starts are always there, may do everything, and nobody changes them;
others are made by IAM's operations and kept in the store. A policy attached by ARN is read anew
each time, so a role never allows what its policies no longer say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from matinee.sagemaker.access.managed_policies import MANAGED_POLICIES, PREFIX
from matinee.sagemaker.access.policies import (
    Policy,
    read_identity_policy,
    read_trust_policy,
    trusted,
)
from matinee.sagemaker.store import Resource, Store

ROLE = "Role"
POLICY = "Policy"
SAGEMAKER = "sagemaker.amazonaws.com"
DEFAULT_SESSION_SECONDS = 3600

# IAM's answer must have a date; a role named at the server's start was never created.
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Role:
    """One role.

    Attributes
    ----------
    document
        What GetRole answers of it; its trust policy as plain text.
    inline
        Its own policies' texts by name.
    attached
        ARNs of the managed policies it has.
    given
        It was named when the server started.
    """

    document: Mapping[str, Any]
    inline: Mapping[str, str]
    attached: tuple[str, ...]
    given: bool

    @property
    def name(self) -> str:
        """Its name, without the path."""
        return str(self.document["RoleName"])

    @property
    def arn(self) -> str:
        """Its ARN."""
        return str(self.document["Arn"])

    def trusts(
        self, principals: Mapping[str, set[str]], surroundings: Mapping[str, str] | None = None
    ) -> bool:
        """Return whether one of these principals may assume it.

        Parameters
        ----------
        principals
            Names of the caller by kind, ``AWS`` or ``Service``.
        surroundings
            Values of condition keys.
        """
        policy = read_trust_policy(self.document["AssumeRolePolicyDocument"])
        return trusted(policy, principals, surroundings or {})


class Roles:
    """All roles and managed policies of an account.

    Parameters
    ----------
    store
        Where those that were created are.
    account_id
        Of their ARNs.
    given
        Names of the roles that exist since the server's start.
    """

    def __init__(self, store: Store, account_id: str, given: tuple[str, ...]) -> None:
        self._store = store
        self._account_id = account_id
        self.given = given

    def find(self, name: str) -> Role | None:
        """Return the role of this name."""
        if name in self.given:
            return self._given(name)
        resource = self._store.get(ROLE, name)
        return None if resource is None else _role(resource)

    def of_arn(self, arn: str) -> Role | None:
        """Return the role with this ARN."""
        role = self.find(arn.rpartition("/")[2])
        return role if role is not None and role.arn == arn else None

    def all(self) -> list[Role]:
        """Return every role, by name."""
        found = [self._given(name) for name in self.given]
        found += [_role(resource) for resource in self._store.find(ROLE)]
        return sorted(found, key=lambda role: role.name)

    def policies(self, role: Role) -> list[Policy]:
        """Return what a role's policies say, its own and the attached ones."""
        found = [read_identity_policy(name, text) for name, text in sorted(role.inline.items())]
        for arn in role.attached:
            text = self.policy_text(arn)
            if text is not None:
                found.append(read_identity_policy(arn, text))
        return found

    def policy_text(self, arn: str) -> str | None:
        """Return the document of a managed policy, or None if there is none with this ARN."""
        if arn.startswith(PREFIX):
            return MANAGED_POLICIES.get(arn)
        resource = self._store.get(POLICY, arn.rpartition("/")[2])
        return resource.private["text"] if resource is not None and resource.arn == arn else None

    def _given(self, name: str) -> Role:
        arn = f"arn:aws:iam::{self._account_id}:role/{name}"
        root = f"arn:aws:iam::{self._account_id}:root"
        # Who holds the server's keys is the account's root, and may look at S3 as a job does.
        trust = [
            {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
            for principal in ({"Service": SAGEMAKER}, {"AWS": root})
        ]
        document = {
            "Path": "/",
            "RoleName": name,
            "RoleId": f"AROA{hashlib.sha256(arn.encode()).hexdigest()[:17].upper()}",
            "Arn": arn,
            "CreateDate": _ALWAYS,
            "AssumeRolePolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": trust}),
            "MaxSessionDuration": DEFAULT_SESSION_SECONDS,
        }
        return Role(document, {}, (f"{PREFIX}AdministratorAccess",), given=True)


def _role(resource: Resource) -> Role:
    private = resource.private
    return Role(resource.document, private["inline"], tuple(private["attached"]), given=False)
