"""The install log of an instance, as it lies in CloudWatch."""

from __future__ import annotations

import time

from matinee.cloud.account import Account
from matinee.cloud.install_log import LINES, last_lines


def test_the_end_of_the_newest_install_log_is_read(account: Account) -> None:
    logs = account.client("logs")
    assert last_lines(account, "s") == []
    logs.create_log_group(logGroupName="/matinee/s")
    assert last_lines(account, "s") == []
    now = int(time.time() * 1000)
    for minute, stream in enumerate(("i-1/install", "i-2/install", "i-2/scheduler"), -3):
        logs.create_log_stream(logGroupName="/matinee/s", logStreamName=stream)
        logs.put_log_events(
            logGroupName="/matinee/s",
            logStreamName=stream,
            logEvents=[
                {"timestamp": now + minute * 60_000 + n, "message": f"{stream} {n}\n"}
                for n in range(30)
            ],
        )
    assert last_lines(account, "s") == [f"i-2/install {n}" for n in range(30)][-LINES:]
