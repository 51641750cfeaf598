"""An AWS account in one region: the clients of its services, each made once.

Who it is and where its services are is boto3's to find, by profile, role, keys and `AWS_...`
variables; a region must be among them.
"""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config


class Account:
    """The clients.

    Parameters
    ----------
    session
        Of boto3, with a region.
    """

    def __init__(self, session: boto3.Session) -> None:
        self._session = session
        self._clients: dict[str, Any] = {}

    @property
    def region(self) -> str:
        """The region's name."""
        name: str = self.client("cloudformation").meta.region_name
        return name

    @property
    def domain(self) -> str:
        """What the names of this partition's servers end in."""
        return "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"

    def client(self, service: str) -> Any:
        """Return the client of a service, by boto3's name of it."""
        if service not in self._clients:
            self._clients[service] = self._session.client(
                service, config=Config(retries={"mode": "standard", "max_attempts": 5})
            )
        return self._clients[service]

    def pages(self, service: str, operation: str, member: str, **request: Any) -> list[Any]:
        """Return the items of all pages of a list."""
        pages = self.client(service).get_paginator(operation).paginate(**request)
        return [item for page in pages for item in page.get(member, ())]
