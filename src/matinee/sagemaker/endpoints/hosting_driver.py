"""Bring one endpoint from where it stands to where the store says it should be.

A deployment is what an endpoint configuration was when it was deployed: variants with containers,
weights and counts. A new one gets no request before all of its instances are healthy, and the old
one keeps its instances until the last request is answered; when the new one fails, the old one
stays. Everything that must outlive this server is in the store, so a driver may begin anew at any
point.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from matinee.sagemaker.context import Context
from matinee.sagemaker.endpoints import async_inference
from matinee.sagemaker.endpoints import hosting_instances as instances
from matinee.sagemaker.endpoints.hosting_health import UNHEALTHY_PINGS, Health
from matinee.sagemaker.endpoints.hosting_instances import (
    IN_SERVICE,
    InstanceFailedError,
    Slot,
    slot_of,
)
from matinee.sagemaker.endpoints.hosting_shifts import shares, wait_after_shift
from matinee.sagemaker.endpoints.hosting_states import KIND, EndpointStatus, moved
from matinee.sagemaker.endpoints.hosting_traffic import Fleet, Instance, Variant
from matinee.sagemaker.failures import REASON_LIMIT
from matinee.sagemaker.store import Resource

if TYPE_CHECKING:
    from matinee.sagemaker.endpoints.hosting import Hosting

log = logging.getLogger(__name__)

# What an instance that is taken out may need for the last request it has.
DRAIN_SECONDS = 65.0
_LOOK_SECONDS = 1.0
_STARTING_LOOK_SECONDS = 0.05
_RETRY_SECONDS = 5.0

Deployment = Mapping[str, Any]


class ServerClosing(Exception):  # noqa: N818 - a turn of events, not an error
    """This server ends; the endpoint is left for the next one to take up."""


def slots(deployment: Deployment | None) -> dict[Slot, Mapping[str, Any]]:
    """Return the places of a deployment's instances, each with its variant."""
    if deployment is None:
        return {}
    return {
        Slot(deployment["id"], variant["name"], number): variant
        for variant in deployment["variants"]
        for number in range(variant["count"])
    }


class EndpointDriver:
    """One endpoint in the hands of its thread.

    Parameters
    ----------
    hosting
        Whose endpoint it is.
    context
        The server's surroundings.
    name
        The endpoint's name.
    """

    def __init__(self, hosting: Hosting, context: Context, name: str) -> None:
        self.name = name
        self._hosting = hosting
        self._context = context
        self._woken = threading.Event()
        self._instances: dict[str, Instance] = {}
        self._leaving: dict[str, float] = {}
        self._ended: list[Resource] = []
        self._routed: object = None
        self._started: set[str] = set()
        self._health = Health()

    def wake(self) -> None:
        """Let the thread look at the store now."""
        self._woken.set()

    def was_woken(self) -> bool:
        """Return whether somebody called ``wake`` since the thread last looked."""
        return self._woken.is_set()

    def adopt(self) -> None:
        """Send requests to the instances that still run from before."""
        endpoint = self._endpoint()
        if endpoint is None:
            return
        self._ended = instances.uncleared(self._context, endpoint.arn)
        if endpoint.status in {EndpointStatus.DELETING, EndpointStatus.FAILED}:
            return
        healthy = {
            slot_of(record): record
            for record in instances.living(self._context, endpoint.arn)
            if record.status == IN_SERVICE and instances.failure(self._context, record) is None
        }
        self._route(endpoint.private.get("current"), healthy)

    def run(self) -> None:
        """Keep the endpoint until it is deleted or this server ends."""
        while True:
            self._woken.clear()
            try:
                self._raise_if_closing()
                endpoint = self._endpoint()
                if endpoint is None:
                    return
                seconds = self._look(endpoint)
            except ServerClosing:
                return
            except Exception:
                # The disk may be full, say; it is tried again.
                log.exception("endpoint %s", self.name)
                seconds = _RETRY_SECONDS
            self._woken.wait(seconds)

    def _look(self, endpoint: Resource) -> float:
        """Do what the endpoint's status asks for; return when to look again."""
        match EndpointStatus(endpoint.status):
            case EndpointStatus.CREATING | EndpointStatus.UPDATING:
                self._deploy(endpoint)
                return 0.0
            case EndpointStatus.ROLLING_BACK:
                self._roll_back(endpoint)
                return 0.0
            case EndpointStatus.DELETING:
                return self._delete(endpoint)
            case EndpointStatus.FAILED:
                self._retire(endpoint, {})
                return _LOOK_SECONDS if self._ended or self._leaving else 3600.0
            case EndpointStatus.IN_SERVICE:
                return self._keep(endpoint)

    # Deploying

    def _deploy(self, endpoint: Resource) -> None:
        target: Deployment = endpoint.private["target"]
        try:
            records = self._bring_up(endpoint, target)
            self._shift(endpoint, target, records)
        except InstanceFailedError as error:
            self._fail(endpoint, str(error))
            return
        except ServerClosing:
            raise
        except Exception as error:
            log.exception("endpoint %s: the deployment broke", self.name)
            self._fail(endpoint, f"InternalServerError: {type(error).__name__}: {error}")
            return
        config = target["deployment_config"]
        self._move(
            EndpointStatus.IN_SERVICE,
            document={
                "EndpointConfigName": target["config_name"],
                "LastDeploymentConfig": config or endpoint.document.get("LastDeploymentConfig"),
                "FailureReason": None,
            },
            private={"current": target, "target": None},
        )
        self._health.forget_failures()

    def _bring_up(self, endpoint: Resource, target: Deployment) -> dict[Slot, Resource]:
        """Return the target's instances when all are healthy.

        Raises
        ------
        InstanceFailedError
            One cannot be started or did not become healthy.
        """
        wanted, last_kept = slots(target), 0.0
        while True:
            records = {
                slot_of(record): record for record in instances.living(self._context, endpoint.arn)
            }
            for slot, variant in wanted.items():
                self._bring_up_one(endpoint, slot, variant, records)
            if all(slot in records and records[slot].status == IN_SERVICE for slot in wanted):
                return {slot: records[slot] for slot in wanted}
            if time.monotonic() - last_kept > _LOOK_SECONDS:
                last_kept = time.monotonic()
                self._replace_dead(endpoint, endpoint.private.get("current"))
            self._pause(_STARTING_LOOK_SECONDS)

    def _bring_up_one(
        self,
        endpoint: Resource,
        slot: Slot,
        variant: Mapping[str, Any],
        records: dict[Slot, Resource],
    ) -> None:
        record = records.get(slot)
        if record is None:
            records[slot] = self._start(endpoint, slot, variant)
            return
        reason = instances.failure(self._context, record)
        if reason is not None and (record.status == IN_SERVICE or record.name not in self._started):
            # It served before, or was interrupted with the server that started it.
            self._end(record)
            del records[slot]
            return
        if record.status == IN_SERVICE:
            return
        if reason is None and instances.is_healthy(record):
            records[slot] = instances.in_service(self._context, record)
            return
        limit = variant["health_seconds"]
        waited = (self._context.clock() - record.created).total_seconds()
        if reason is None and waited > limit:
            reason = (
                f"The {record.private['containers'][0]['host']} container for production variant "
                f"{slot.variant} did not pass the ping health check within {limit} s. Please check "
                "CloudWatch logs for this endpoint."
            )
        if reason is not None:
            raise InstanceFailedError(reason)

    def _shift(
        self, endpoint: Resource, target: Deployment, records: Mapping[Slot, Resource]
    ) -> None:
        """Move the traffic to the target, in the steps its deployment configuration asks for."""
        current: Deployment | None = endpoint.private.get("current")
        new = self._fleet(target, records)
        if current is None or current["id"] == target["id"]:
            self._hosting.traffic.put(self.name, [new])
            return
        old = self._fleet(current, self._healthy(endpoint, current))
        counts = {variant["name"]: variant["count"] for variant in target["variants"]}
        for share, seconds in shares(target["deployment_config"], counts):
            self._hosting.traffic.put(
                self.name,
                [new] if share >= 1 else [_with_share(old, 1 - share), _with_share(new, share)],
            )
            self._bake(records, seconds)
        self._bake(records, wait_after_shift(target["deployment_config"]))

    def _bake(self, records: Mapping[Slot, Resource], seconds: float) -> None:
        """Wait, and see that the new instances stay healthy.

        Raises
        ------
        InstanceFailedError
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._pause(min(left, _LOOK_SECONDS))
            for record in records.values():
                reason = instances.failure(self._context, record)
                if reason is not None:
                    raise InstanceFailedError(reason)

    def _fail(self, endpoint: Resource, reason: str) -> None:
        reason = reason[:REASON_LIMIT]
        log.warning("endpoint %s: %s", self.name, reason)
        if endpoint.private.get("current") is None:
            changes = {"document": {"FailureReason": reason}, "private": {"target": None}}
            self._move(EndpointStatus.FAILED, **changes)
            self._hosting.traffic.remove(self.name)
        else:
            self._move(EndpointStatus.ROLLING_BACK, document={"FailureReason": reason})

    def _roll_back(self, endpoint: Resource) -> None:
        current = endpoint.private["current"]
        self._route(current, self._healthy(endpoint, current))
        self._retire(endpoint, slots(current))
        self._move(EndpointStatus.IN_SERVICE, private={"target": None})

    # Keeping

    def _keep(self, endpoint: Resource) -> float:
        current = endpoint.private["current"]
        self._retire(endpoint, slots(current))
        is_settled = self._replace_dead(endpoint, current)
        return _LOOK_SECONDS if is_settled and not self._leaving else _STARTING_LOOK_SECONDS

    def _replace_dead(self, endpoint: Resource, deployment: Deployment | None) -> bool:
        """Start instances that died anew; return whether none is about to change."""
        if deployment is None:
            return True
        records = {
            slot_of(record): record for record in instances.living(self._context, endpoint.arn)
        }
        healthy: dict[Slot, Resource] = {}
        is_settled = True
        for slot, variant in slots(deployment).items():
            record = self._kept(endpoint, slot, variant, records.get(slot))
            if record is not None and record.status == IN_SERVICE:
                healthy[slot] = record
            else:
                # One that failed lately waits; one that starts may be healthy any moment.
                is_waiting = record is None and not self._health.may_start(slot)
                is_settled = is_settled and is_waiting
        self._route(deployment, healthy)
        return is_settled

    def _kept(
        self, endpoint: Resource, slot: Slot, variant: Mapping[str, Any], record: Resource | None
    ) -> Resource | None:
        """Return the instance of a slot after a look at it."""
        if record is None:
            if not self._health.may_start(slot):
                return None
            try:
                return self._start(endpoint, slot, variant)
            except InstanceFailedError as error:
                self._note_failure(slot, str(error))
                return None
        reason = instances.failure(self._context, record)
        if reason is None and record.status != IN_SERVICE:
            if instances.is_healthy(record):
                self._health.note_success(slot)
                return instances.in_service(self._context, record)
            waited = (self._context.clock() - record.created).total_seconds()
            if waited > variant["health_seconds"]:
                reason = f"it did not answer /ping within {variant['health_seconds']} s"
        elif reason is None and not self._health.answers_pings(record):
            reason = f"it did not answer {UNHEALTHY_PINGS} pings in a row"
        if reason is None:
            return record
        self._note_failure(slot, reason)
        self._end(record)
        return None

    def _note_failure(self, slot: Slot, reason: str) -> None:
        log.warning(
            "endpoint %s, variant %s, instance %d: %s; the next one starts in %g s",
            self.name,
            slot.variant,
            slot.number,
            reason,
            self._health.note_failure(slot),
        )

    def _start(self, endpoint: Resource, slot: Slot, variant: Mapping[str, Any]) -> Resource:
        record = instances.enrol(self._context, endpoint, slot, variant)
        try:
            instances.start(self._context, record, variant, self._raise_if_closing)
        except BaseException:
            self._end(record)
            raise
        self._started.add(record.name)
        return record

    # Taking out

    def _retire(self, endpoint: Resource, wanted: Mapping[Slot, Any]) -> None:
        """End the instances that have no place any more once they answered what they have."""
        for record in instances.living(self._context, endpoint.arn):
            if slot_of(record) in wanted:
                continue
            since = self._leaving.setdefault(record.name, time.monotonic())
            instance = self._instances.get(record.name)
            is_free = instance is None or self._hosting.traffic.drained(instance)
            if is_free or time.monotonic() - since > DRAIN_SECONDS:
                del self._leaving[record.name]
                self._end(record)
        self._ended = [
            record for record in self._ended if not instances.clear(self._context, record, 0)
        ]

    def _end(self, record: Resource) -> None:
        instances.end(self._context, record)
        self._instances.pop(record.name, None)
        self._health.forget(record)
        self._started.discard(record.name)
        self._ended.append(record)

    def _delete(self, endpoint: Resource) -> float:
        self._hosting.traffic.remove(self.name)
        self._retire(endpoint, {})
        if self._leaving or self._ended:
            return _STARTING_LOOK_SECONDS
        async_inference.forget(self._context, endpoint.arn)
        self._context.store.delete(KIND, self.name)
        return 0.0

    # Small things

    def _endpoint(self) -> Resource | None:
        return self._context.store.get(KIND, self.name)

    def _healthy(self, endpoint: Resource, deployment: Deployment) -> dict[Slot, Resource]:
        places = slots(deployment)
        return {
            slot_of(record): record
            for record in instances.living(self._context, endpoint.arn)
            if record.status == IN_SERVICE and slot_of(record) in places
        }

    def _route(self, deployment: Deployment | None, records: Mapping[Slot, Resource]) -> None:
        """Let the traffic go to these instances, if it does not already."""
        if deployment is None:
            return
        routed = (deployment, {record.name for record in records.values()})
        if routed != self._routed:
            self._hosting.traffic.put(self.name, [self._fleet(deployment, records)])
            self._routed = routed

    def _fleet(self, deployment: Deployment, records: Mapping[Slot, Resource]) -> Fleet:
        self._routed = None
        variants = {
            variant["name"]: Variant(
                variant["name"],
                variant["weight"],
                tuple(self._of_variant(variant, records)),
                least_outstanding=variant["least_outstanding"],
                limit=variant["limit"],
                is_direct=variant["is_direct"],
            )
            for variant in deployment["variants"]
        }
        return Fleet(variants, settings=deployment["settings"])

    def _of_variant(
        self, variant: Mapping[str, Any], records: Mapping[Slot, Resource]
    ) -> Iterator[Instance]:
        for slot, record in records.items():
            if slot.variant == variant["name"]:
                yield self._instances.setdefault(record.name, instances.instance_of(record))

    def _move(self, status: EndpointStatus, **changes: Any) -> None:
        now = self._context.clock()
        self._context.store.update(
            KIND, self.name, lambda endpoint: moved(endpoint, status, now=now, **changes)
        )

    def _pause(self, seconds: float) -> None:
        self._hosting.closing.wait(seconds)
        self._raise_if_closing()

    def _raise_if_closing(self) -> None:
        if self._hosting.closing.is_set():
            raise ServerClosing


def _with_share(fleet: Fleet, share: float) -> Fleet:
    return Fleet(fleet.variants, share, fleet.settings)
