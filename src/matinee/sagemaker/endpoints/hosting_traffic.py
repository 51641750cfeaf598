"""Which model server the next request to an endpoint goes to.

A table in memory, made anew from the store at each start of the server. Those who deploy put whole
fleets in and take them out; those who invoke take an instance and give it back. Nothing goes to an
instance after it was taken out, and ``drained`` says when the last request it had is answered.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class NoEndpointError(Exception):
    """The table has no such endpoint."""


class NoVariantError(Exception):
    """The endpoint has no such variant."""


class NoInstanceError(Exception):
    """The variant has no instance that can take a request now."""


class BusyError(Exception):
    """A serverless variant has as many requests as it takes at once."""


@dataclass(eq=False, slots=True)
class Instance:
    """One running instance of a variant.

    Attributes
    ----------
    id
        Its record's name.
    containers
        Host name and port of each of its containers, in the order of the pipeline.
    in_flight
        Requests it has and did not answer yet; changed by ``Traffic`` alone.
    """

    id: str
    containers: tuple[tuple[str, int], ...]
    in_flight: int = 0


@dataclass(slots=True)
class Variant:
    """A variant's share of the traffic, and where it goes.

    Attributes
    ----------
    name
        AWS's VariantName.
    weight
        Its share, relative to the others'.
    instances
        That are healthy.
    least_outstanding
        Whether the instance with the fewest requests is next; else they take turns.
    limit
        How many requests at once; None: any number.
    is_direct
        Whether a request names one container instead of passing through all of them.
    """

    name: str
    weight: float
    instances: tuple[Instance, ...]
    least_outstanding: bool = False
    limit: int | None = None
    is_direct: bool = False
    credit: float = 0.0
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Fleet:
    """The variants of one deployment, and what its requests have in common.

    Attributes
    ----------
    variants
        By name.
    share
        Of the endpoint's traffic, while it moves from an old fleet to a new one.
    settings
        The endpoint configuration's AsyncInferenceConfig, DataCaptureConfig and what else an
        invocation must know.
    """

    variants: Mapping[str, Variant]
    share: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Route:
    fleets: tuple[Fleet, ...]
    credits: list[float]


@dataclass(frozen=True, slots=True)
class Ticket:
    """An instance taken for one request, to be given back."""

    endpoint: str
    variant: str
    instance: Instance
    settings: Mapping[str, Any]
    is_direct: bool


class Traffic:
    """The table; safe to use from the event loop and from threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._routes: dict[str, _Route] = {}

    def put(self, endpoint: str, fleets: Sequence[Fleet]) -> None:
        """Let an endpoint's traffic go to these fleets, and to nothing else."""
        with self._lock:
            self._routes[endpoint] = _Route(tuple(fleets), [0.0] * len(fleets))

    def remove(self, endpoint: str) -> None:
        """Take an endpoint out."""
        with self._lock:
            self._routes.pop(endpoint, None)

    def settings(self, endpoint: str) -> Mapping[str, Any]:
        """Return what the invocations of an endpoint must know.

        Raises
        ------
        NoEndpointError
        """
        with self._lock:
            return self._route(endpoint).fleets[-1].settings

    def take(
        self, endpoint: str, variant: str | None = None, *, without: Sequence[Instance] = ()
    ) -> Ticket:
        """Return the instance for the next request.

        Parameters
        ----------
        endpoint
            Its name.
        variant
            The variant the caller wants; None: by the weights.
        without
            Instances that were tried already.

        Raises
        ------
        NoEndpointError, NoVariantError, NoInstanceError, BusyError
        """
        with self._lock:
            route = self._route(endpoint)
            fleet = route.fleets[_next([fleet.share for fleet in route.fleets], route.credits)]
            chosen = _variant(fleet, variant)
            if chosen.limit is not None and _in_flight(chosen) >= chosen.limit:
                raise BusyError(chosen.name)
            instance = _instance(chosen, without)
            instance.in_flight += 1
            return Ticket(endpoint, chosen.name, instance, fleet.settings, chosen.is_direct)

    def give_back(self, ticket: Ticket) -> None:
        """Note that a request was answered, or given up."""
        with self._lock:
            ticket.instance.in_flight -= 1

    def drained(self, instance: Instance) -> bool:
        """Return whether an instance has answered all its requests."""
        with self._lock:
            return instance.in_flight == 0

    def _route(self, endpoint: str) -> _Route:
        if endpoint not in self._routes:
            raise NoEndpointError(endpoint)
        return self._routes[endpoint]


def _next(shares: Sequence[float], credit: list[float]) -> int:
    """Return whose turn it is: each is chosen in proportion to its share, as evenly as can be."""
    if len(shares) == 1:
        return 0
    for index, share in enumerate(shares):
        credit[index] += share
    best = max(range(len(shares)), key=credit.__getitem__)
    credit[best] -= sum(shares)
    return best


def _variant(fleet: Fleet, name: str | None) -> Variant:
    if name is not None:
        if name not in fleet.variants:
            raise NoVariantError(name)
        return fleet.variants[name]
    variants = list(fleet.variants.values())
    if len(variants) == 1:
        return variants[0]
    # Requests go to another variant while one has no instance that runs.
    able = [item for item in variants if item.weight > 0 and item.instances]
    if not able:
        raise NoInstanceError("no variant")
    credit = [item.credit for item in able]
    chosen = _next([item.weight for item in able], credit)
    for item, value in zip(able, credit, strict=True):
        item.credit = value
    return able[chosen]


def _in_flight(variant: Variant) -> int:
    return sum(instance.in_flight for instance in variant.instances)


def _instance(variant: Variant, without: Sequence[Instance]) -> Instance:
    able = [item for item in variant.instances if item not in without]
    if not able:
        raise NoInstanceError(variant.name)
    if variant.least_outstanding:
        return min(able, key=lambda item: item.in_flight)
    variant.turn += 1
    return able[variant.turn % len(able)]
