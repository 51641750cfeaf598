"""Benchmarks of ``matinee.fm``: speed and accuracy against its peers, conformance, memory."""
