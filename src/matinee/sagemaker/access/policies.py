"""IAM policy documents: what one says, and what several together allow.

The evaluation is AWS's for one account: an explicit Deny wins, then an Allow, else it is denied
("Policy evaluation logic", IAM User Guide). What would be read and then not be obeyed exactly is
refused when the document is given: NotAction, NotResource, NotPrincipal, policy variables, and
conditions other than on strings, ARNs, booleans and absence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from matinee.sagemaker.errors import MalformedPolicyDocumentException, NotImplementedByMatinee

_VERSIONS = ("2012-10-17", "2008-10-17")
_MEMBERS = {"Sid", "Effect", "Action", "Resource", "Principal", "Condition"}
_ABSENT = ("NotAction", "NotResource", "NotPrincipal")
_IF_EXISTS = "IfExists"

Conditions = Mapping[str, Mapping[str, Sequence[str]]]


class Decision(StrEnum):
    """What policies say to a request, in the words of SimulatePrincipalPolicy."""

    ALLOWED = "allowed"
    EXPLICIT_DENY = "explicitDeny"
    IMPLICIT_DENY = "implicitDeny"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a policy.

    Attributes
    ----------
    allows
        Its Effect is Allow; else it is Deny.
    actions, resources
        Patterns with ``*`` and ``?``.
    principals
        Pairs of kind (``AWS``, ``Service``, ``*``) and name; only in trust policies.
    conditions
        Operator, key, values.
    """

    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    principals: tuple[tuple[str, str], ...]
    conditions: Conditions

    def matches(self, action: str, resource: str, surroundings: Mapping[str, str]) -> bool:
        """Return whether the statement is about this action on this resource."""
        return (
            any(matches(pattern.lower(), action.lower()) for pattern in self.actions)
            and any(matches(pattern, resource) for pattern in self.resources)
            and self.holds(surroundings)
        )

    def holds(self, surroundings: Mapping[str, str]) -> bool:
        """Return whether all of its conditions hold."""
        given = {key.lower(): value for key, value in surroundings.items()}
        return all(
            _holds(operator, given.get(key.lower()), values)
            for operator, keys in self.conditions.items()
            for key, values in keys.items()
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that was read.

    Attributes
    ----------
    name
        Under which it hangs on a role.
    text
        As it was given.
    statements
        In its order.
    """

    name: str
    text: str
    statements: tuple[Statement, ...]


def evaluate(
    policies: Iterable[Policy], action: str, resource: str, surroundings: Mapping[str, str]
) -> tuple[Decision, list[Policy]]:
    """Decide about a request.

    Parameters
    ----------
    policies
        All that apply.
    action, resource
        Such as ``s3:GetObject`` and ``arn:aws:s3:::bucket/key``; the resource of an action on
        none is ``*``.
    surroundings
        Values of condition keys.

    Returns
    -------
    tuple
        The decision, and the policies with a statement that matched.
    """
    found = [
        (policy, statement.allows)
        for policy in policies
        for statement in policy.statements
        if statement.matches(action, resource, surroundings)
    ]
    matched = list({policy.name: policy for policy, _ in found}.values())
    if any(not allows for _, allows in found):
        return Decision.EXPLICIT_DENY, matched
    return (Decision.ALLOWED if found else Decision.IMPLICIT_DENY), matched


def matches(pattern: str, text: str) -> bool:
    """Return whether a text fits a pattern of IAM's two wildcards."""
    # Not a regular expression: many stars would make one of those take for ever.
    here = there = after_star = 0
    star = -1
    while there < len(text):
        if here < len(pattern) and pattern[here] == "*":
            star, after_star = here, there
            here += 1
        elif here < len(pattern) and pattern[here] in {"?", text[there]}:
            here, there = here + 1, there + 1
        elif star >= 0:
            after_star += 1
            here, there = star + 1, after_star
        else:
            return False
    return not pattern[here:].strip("*")


def read_identity_policy(name: str, text: str) -> Policy:
    """Read a policy that says what its holder may do.

    Raises
    ------
    MalformedPolicyDocumentException
        It is not a policy, or not one for an identity.
    NotImplementedByMatinee
        It has an element that would not be obeyed here.
    """
    statements = [_statement(item) for item in _statements(text)]
    for statement in statements:
        if statement.principals:
            raise MalformedPolicyDocumentException(
                "Policy document should not specify a principal."
            )
        if not statement.resources:
            raise MalformedPolicyDocumentException("Policy statement must contain resources.")
        for resource in statement.resources:
            if resource != "*" and not resource.startswith("arn:"):
                raise MalformedPolicyDocumentException(
                    f'Resource {resource} must be in ARN format or "*".'
                )
    return Policy(name, text, tuple(statements))


def read_trust_policy(text: str) -> Policy:
    """Read a policy that says who may assume a role.

    Raises
    ------
    MalformedPolicyDocumentException, NotImplementedByMatinee
        As `read_identity_policy`.
    """
    statements = [_statement(item) for item in _statements(text)]
    for statement in statements:
        if statement.resources:
            raise MalformedPolicyDocumentException("Has prohibited field Resource")
        if not statement.principals:
            raise MalformedPolicyDocumentException("Missing required field Principal")
        for action in statement.actions:
            if not action.lower().startswith("sts:"):
                raise MalformedPolicyDocumentException(
                    "AssumeRole policy may only specify STS AssumeRole actions."
                )
    return Policy("AssumeRolePolicyDocument", text, tuple(statements))


def trusted(policy: Policy, principals: Mapping[str, set[str]], surroundings: Any) -> bool:
    """Return whether a trust policy lets one of these principals assume the role.

    Parameters
    ----------
    policy
        The trust policy.
    principals
        Names of the caller by kind, ``AWS`` or ``Service``.
    surroundings
        Values of condition keys.
    """
    decision = False
    for statement in policy.statements:
        names = (
            name == "*" or name in principals.get(kind, ()) for kind, name in statement.principals
        )
        action = any(matches(item.lower(), "sts:assumerole") for item in statement.actions)
        if action and any(names) and statement.holds(surroundings):
            if not statement.allows:
                return False
            decision = True
    return decision


def _statements(text: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedPolicyDocumentException("Syntax errors in policy.") from error
    if not isinstance(document, dict):
        raise MalformedPolicyDocumentException("Syntax errors in policy.")
    version = document.get("Version", _VERSIONS[-1])
    if version not in _VERSIONS:
        raise MalformedPolicyDocumentException(
            f"The policy must contain a valid version string, {' or '.join(_VERSIONS)}"
        )
    found = document.get("Statement")
    found = [found] if isinstance(found, dict) else found
    if not isinstance(found, list) or not found or not all(isinstance(s, dict) for s in found):
        raise MalformedPolicyDocumentException("Syntax errors in policy: Statement")
    return found


def _statement(item: dict[str, Any]) -> Statement:
    for member in _ABSENT:
        if member in item:
            raise NotImplementedByMatinee(f"the policy element {member}")
    if unknown := sorted(item.keys() - _MEMBERS):
        raise MalformedPolicyDocumentException(f"Syntax errors in policy: {', '.join(unknown)}")
    if item.get("Effect") not in {"Allow", "Deny"}:
        raise MalformedPolicyDocumentException(f"Invalid Effect: {item.get('Effect')!r}")
    actions = _texts(item.get("Action", []), "Action")
    if not actions:
        raise MalformedPolicyDocumentException("Policy statement must contain actions.")
    for action in actions:
        if action != "*" and ":" not in action:
            raise MalformedPolicyDocumentException(
                "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
            )
    resources = _texts(item.get("Resource", []), "Resource")
    conditions = _conditions(item.get("Condition", {}))
    values = (value for keys in conditions.values() for given in keys.values() for value in given)
    if any("${" in text for text in (*resources, *values)):
        raise NotImplementedByMatinee("policy variables (${..})")
    return Statement(
        allows=item["Effect"] == "Allow",
        actions=actions,
        resources=resources,
        principals=_principals(item.get("Principal", {})),
        conditions=conditions,
    )


def _texts(value: Any, member: str) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise MalformedPolicyDocumentException(f"Syntax errors in policy: {member}")
    return tuple(found)


def _principals(value: Any) -> tuple[tuple[str, str], ...]:
    if value == "*":
        return (("*", "*"),)
    if not isinstance(value, dict):
        raise MalformedPolicyDocumentException("Syntax errors in policy: Principal")
    return tuple(
        (kind, name) for kind, names in value.items() for name in _texts(names, "Principal")
    )


def _conditions(value: Any) -> Conditions:
    if not isinstance(value, dict):
        raise MalformedPolicyDocumentException("Syntax errors in policy: Condition")
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for operator, keys in value.items():
        if operator.removesuffix(_IF_EXISTS) not in {*_OPERATORS, "Null"}:
            raise NotImplementedByMatinee(f"the policy condition operator {operator}")
        if not isinstance(keys, dict):
            raise MalformedPolicyDocumentException("Syntax errors in policy: Condition")
        found[operator] = {key: _texts(_words(item), "Condition") for key, item in keys.items()}
    return found


def _words(value: Any) -> Any:
    # JSON's own true and numbers mean the same as their words.
    if isinstance(value, list):
        return [_words(item) for item in value]
    return value if isinstance(value, str) else json.dumps(value)


_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda pattern, text: pattern == text,
    "StringEqualsIgnoreCase": lambda pattern, text: pattern.lower() == text.lower(),
    "StringLike": matches,
    "ArnEquals": matches,
    "ArnLike": matches,
    "Bool": lambda pattern, text: pattern.lower() == text.lower(),
    "StringNotEquals": lambda pattern, text: pattern != text,
    "StringNotEqualsIgnoreCase": lambda pattern, text: pattern.lower() != text.lower(),
    "StringNotLike": lambda pattern, text: not matches(pattern, text),
    "ArnNotEquals": lambda pattern, text: not matches(pattern, text),
    "ArnNotLike": lambda pattern, text: not matches(pattern, text),
}


def _holds(operator: str, given: str | None, values: Sequence[str]) -> bool:
    if operator == "Null":
        return any((value.lower() == "true") == (given is None) for value in values)
    name = operator.removesuffix(_IF_EXISTS)
    negated = "Not" in name
    if given is None:
        return negated or operator != name
    found = (_OPERATORS[name](value, given) for value in values)
    return all(found) if negated else any(found)
