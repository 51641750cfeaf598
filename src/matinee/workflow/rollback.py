"""Rolling back: the endpoint returns to the model package that was approved before.

What it leaves is rejected, so that going back once more goes further back. Refuses where no
earlier version is approved, and endpoints that are not there or not the workflow's.
"""

from __future__ import annotations

from typing import Any, TypedDict

from matinee.workflow.endpoint import Endpoint, package_before
from matinee.workflow.errors import PublishError


class RolledBack(TypedDict):
    """Which model package an endpoint served before, and which it serves now."""

    endpoint: str
    left: str
    serves: str


def rollback(name: str, sagemaker: Any, *, check_s: float) -> RolledBack:
    """Return an endpoint to the version approved before the one in service.

    Parameters
    ----------
    name : str
        The endpoint's.
    sagemaker
        A boto3 SageMaker client.
    check_s : float
        Seconds between two looks at the endpoint while it changes.

    Raises
    ------
    PublishError
        If nothing is in service, there is nothing to go back to, or that does not come into
        service.
    """
    endpoint = Endpoint(name, sagemaker, check_s=check_s)
    served = endpoint.served()
    if served is None:
        raise PublishError(f"there is no endpoint {name}, or it never came into service")
    before = package_before(sagemaker, served.model_package)
    if before is None:
        raise PublishError(
            f"endpoint {name} serves {served.model_package}, and no version before it is approved:"
            " there is nothing to go back to"
        )
    endpoint.serve(before, served.hosting)
    sagemaker.update_model_package(
        ModelPackageArn=served.model_package,
        ModelApprovalStatus="Rejected",
        ApprovalDescription=f"rolled back: endpoint {name} returned to {before}",
    )
    return {"endpoint": name, "left": served.model_package, "serves": before}
