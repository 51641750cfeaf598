"""The end of what the instance's script wrote: why Airflow did not become healthy.

It is read as soon as something fails: the stack that rolls back takes its log group with it.
"""

from __future__ import annotations

from typing import Final

from botocore.exceptions import ClientError

from matinee.cloud.account import Account

LINES: Final = 20


def last_lines(account: Account, stack: str) -> list[str]:
    """Return the last lines of the newest install log; none if there is none.

    Of a log that cannot be read the one line says why.
    """
    logs, group = account.client("logs"), f"/matinee/{stack}"
    try:
        streams = account.pages(
            "logs",
            "describe_log_streams",
            "logStreams",
            logGroupName=group,
            orderBy="LastEventTime",
            descending=True,
        )
        names = [each["logStreamName"] for each in streams]
        for name in names:
            if name.endswith("/install"):
                events = logs.get_log_events(
                    logGroupName=group, logStreamName=name, limit=LINES, startFromHead=False
                )["events"]
                return [event["message"].rstrip() for event in events]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            return [f"it cannot be read: {error}"]
    return []
