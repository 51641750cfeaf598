"""The states of an endpoint and the one table of legal transitions between them.

``moved`` is the only way from one state to another; it refuses what the table does not have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from matinee.sagemaker.store import Resource

KIND = "Endpoint"


class EndpointStatus(StrEnum):
    """Where an endpoint stands, in AWS's words."""

    CREATING = "Creating"
    IN_SERVICE = "InService"
    UPDATING = "Updating"
    ROLLING_BACK = "RollingBack"
    DELETING = "Deleting"
    FAILED = "Failed"


TRANSITIONS: Mapping[EndpointStatus, frozenset[EndpointStatus]] = {
    EndpointStatus.CREATING: frozenset({EndpointStatus.IN_SERVICE, EndpointStatus.FAILED}),
    EndpointStatus.IN_SERVICE: frozenset({EndpointStatus.UPDATING, EndpointStatus.DELETING}),
    EndpointStatus.UPDATING: frozenset({EndpointStatus.IN_SERVICE, EndpointStatus.ROLLING_BACK}),
    EndpointStatus.ROLLING_BACK: frozenset({EndpointStatus.IN_SERVICE}),
    EndpointStatus.FAILED: frozenset({EndpointStatus.DELETING}),
    # Its end is that it is no more.
    EndpointStatus.DELETING: frozenset(),
}


class EndpointBusyError(Exception):
    """The table does not allow an endpoint to go from its state to the wanted one.

    Attributes
    ----------
    current
        The state the endpoint is in, and stays in.
    """

    def __init__(self, name: str, current: EndpointStatus, wanted: EndpointStatus) -> None:
        super().__init__(f"endpoint {name!r} cannot go from {current} to {wanted}")
        self.current = current


def moved(
    resource: Resource,
    status: EndpointStatus,
    *,
    now: datetime,
    document: Mapping[str, Any] | None = None,
    private: Mapping[str, Any] | None = None,
) -> Resource:
    """Return an endpoint as it is after a transition.

    Parameters
    ----------
    resource
        The endpoint before.
    status
        Where it goes.
    now
        The time of the change.
    document, private
        Members to set; None as a value removes one.

    Raises
    ------
    EndpointBusyError
        ``TRANSITIONS`` does not have it.
    """
    current = EndpointStatus(resource.status)
    if status not in TRANSITIONS[current]:
        raise EndpointBusyError(resource.name, current, status)
    return dataclasses.replace(
        resource,
        status=str(status),
        modified=now,
        document=_changed(
            resource.document,
            {**(document or {}), "EndpointStatus": str(status), "LastModifiedTime": now},
        ),
        private=_changed(resource.private, private or {}),
    )


def _changed(members: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**members, **changes}.items() if value is not None}
