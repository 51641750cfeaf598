"""STS: who is calling. Whoever holds the server's keys is the account's root."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation


def get_caller_identity(context: Context, _request: dict[str, Any]) -> dict[str, Any]:
    """Return account, user id and ARN of the caller."""
    return {
        "UserId": context.account_id,
        "Account": context.account_id,
        "Arn": f"arn:aws:iam::{context.account_id}:root",
    }


OPERATIONS: Mapping[str, Operation] = {"GetCallerIdentity": get_caller_identity}
