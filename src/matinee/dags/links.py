"""Links from Airflow's tasks to the pages of what they made: jobs, endpoints.

They lead to the console that the option `console` of Airflow's section `[matinee]` names
(`AIRFLOW__MATINEE__CONSOLE`), else to AWS's in the region of the AWS clients; to nowhere where
neither is known. A job's link is there as soon as it starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

# The page of each kind: here, and in AWS's console.
_PAGES = {
    "training-jobs": "jobs",
    "tuning-jobs": "hyper-tuning-jobs",
    "transform-jobs": "transform-jobs",
    "endpoints": "endpoints",
}
# What AWS's partitions call their consoles.
_DOMAINS = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}
_KEY = "console_page"


def page_of(kind: str, name: str) -> str | None:
    """Return the address of something's page.

    Parameters
    ----------
    kind : str
        "training-jobs", "tuning-jobs", "transform-jobs" or "endpoints".
    name : str
    """
    console: str | None = conf.get("matinee", "console", fallback=None)
    if console:
        return f"{console.rstrip('/')}/{kind}/{name}"
    import boto3  # slow to import, and only tasks ask for pages

    session = boto3.session.Session()
    region = session.region_name
    if region is None:
        return None
    domain = _DOMAINS.get(session.get_partition_for_region(region))
    if domain is None:
        return None
    return f"https://{region}.{domain}/sagemaker/home?region={region}#/{_PAGES[kind]}/{name}"


def tell_page(ti: Any, kind: str, name: str) -> None:
    """Let the link of a task lead to the page of what it makes; parameters as of `page_of`."""
    if page := page_of(kind, name):
        ti.xcom_push(_KEY, page)


class ConsoleLink(BaseOperatorLink):
    """The button on a task's page."""

    name = "Console"
    xcom_key = _KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that the task told, or nothing."""
        del operator
        from airflow.sdk.execution_time.xcom import XCom

        page: str | None = XCom.get_value(key=_KEY, ti_key=ti_key)
        return page or ""
