"""Tuning jobs: where to look next, when to stop a trial, when to stop looking."""
