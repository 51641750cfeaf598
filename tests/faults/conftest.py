"""What the fault tests share with the job tests."""

from __future__ import annotations

from tests.sagemaker.jobs.conftest import gate, job_server, jobs, shared_jobs

__all__ = ["gate", "job_server", "jobs", "shared_jobs"]
