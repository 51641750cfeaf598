"""What a server that starts finds of endpoints, without a process."""

from __future__ import annotations

from matinee.sagemaker.endpoints import hosting_instances, hosting_states
from matinee.sagemaker.store import Resource
from tests.sagemaker.conftest import NOON, Front
from tests.sagemaker.jobs.conftest import until


def test_what_an_ended_instance_left_is_removed(front: Front) -> None:
    context, arn = front.context, front.context.arn("endpoint/e")
    left = context.folder / "endpoints/f/i/container-1/ml"
    left.mkdir(parents=True)
    private = {"folder": "f/i", "containers": [{"host": "primary", "port": 1}]}
    document = {"EndpointStatus": "Failed"}
    for resource in (
        Resource(hosting_states.KIND, "e", arn, "Failed", NOON, NOON, document, {}),
        Resource(
            hosting_instances.KIND, "i", f"{arn}/i", "Ended", NOON, NOON, {}, private, parent=arn
        ),
    ):
        context.store.insert(resource)
    context.hosting.start(context)
    until(lambda: not left.exists())
    context.hosting.shutdown()
    assert left.parent.exists()  # for its log
