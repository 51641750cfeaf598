"""AWS's service models, as botocore ships them."""

from __future__ import annotations

import functools

from botocore.loaders import Loader
from botocore.model import ServiceModel


@functools.cache
def load(name: str) -> ServiceModel:
    """Return the newest model of a service, by botocore's name for it."""
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


@functools.cache
def members(service: str, shape: str) -> frozenset[str]:
    """Return the names of a structure's members."""
    return frozenset(load(service).shape_for(shape).members)
