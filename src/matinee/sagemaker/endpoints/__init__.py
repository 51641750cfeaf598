"""Endpoints: fleets of model servers, traffic between them, asynchronous requests."""
