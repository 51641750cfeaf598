"""Hosts endpoints: a thread for each, which brings it to where the store says it should be.

A server that starts takes up every endpoint: instances that still run answer at once, those that
died are started anew. One that closes lets go of all, and the instances run on for the next.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from matinee.sagemaker.endpoints.async_inference import Queue
from matinee.sagemaker.endpoints.hosting_states import KIND
from matinee.sagemaker.endpoints.hosting_traffic import Traffic
from matinee.sagemaker.model_serving.data_capture import UPLOAD_SECONDS, Captures
from matinee.sagemaker.model_serving.hosting_connections import Connections

if TYPE_CHECKING:
    from matinee.sagemaker.context import Context
    from matinee.sagemaker.endpoints.hosting_driver import EndpointDriver

log = logging.getLogger(__name__)


class Hosting:
    """All endpoints of a server.

    Attributes
    ----------
    traffic
        Where requests go.
    connections
        To the model servers, from the event loop.
    queue
        Asynchronous invocations that wait.
    captures
        What requests and answers are on their way to S3.
    closing
        Set when this server ends.
    """

    def __init__(self) -> None:
        self.traffic = Traffic()
        self.connections = Connections()
        self.queue = Queue(self)
        self.captures = Captures()
        self.closing = threading.Event()
        self._context: Context | None = None
        self._lock = threading.Lock()
        self._drivers: dict[str, tuple[EndpointDriver, threading.Thread]] = {}

    def start(self, context: Context) -> None:
        """Take up every endpoint; those with healthy instances answer when this returns."""
        self._context = context
        for endpoint in context.store.find(KIND):
            log.info("taking up endpoint %s (%s)", endpoint.name, endpoint.status)
            self.wake(endpoint.name)
        for target in (self.queue.run, self._upload_captures):
            threading.Thread(target=target, args=(context,), daemon=True).start()

    def wake(self, name: str) -> None:
        """Let an endpoint's thread look at the store; one that has none gets it."""
        # Not above: the driver's modules need the context, and that has a Hosting.
        from matinee.sagemaker.endpoints.hosting_driver import EndpointDriver

        if self._context is None or self.closing.is_set():
            return
        with self._lock:
            if name in self._drivers:
                self._drivers[name][0].wake()
                return
            driver = EndpointDriver(self, self._context, name)
            driver.adopt()
            thread = threading.Thread(
                target=self._run, args=(driver,), name=f"{KIND} {name}", daemon=True
            )
            self._drivers[name] = driver, thread
        thread.start()

    def shutdown(self, timeout_seconds: float = 5.0) -> None:
        """Let go of all endpoints; their instances run on."""
        self.closing.set()
        self.queue.wake()
        with self._lock:
            drivers = list(self._drivers.values())
        for driver, _ in drivers:
            driver.wake()
        for _, thread in drivers:
            thread.join(timeout_seconds / len(drivers))

    def _upload_captures(self, context: Context) -> None:
        while not self.closing.wait(UPLOAD_SECONDS):
            try:
                self.captures.upload(context)
            except Exception:
                # The disk may be full, say; it is tried again.
                log.exception("captured data")

    def _run(self, driver: EndpointDriver) -> None:
        while True:
            driver.run()
            with self._lock:
                # One that was made anew meanwhile is taken up by the same thread.
                if self.closing.is_set() or not driver.was_woken():
                    del self._drivers[driver.name]
                    return
