"""Benchmarks of the local SageMaker: how soon it answers, and what a job costs beside its work."""
