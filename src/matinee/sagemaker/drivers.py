"""Which driver runs which kind of job."""

from __future__ import annotations

from collections.abc import Mapping

from matinee.sagemaker.jobs import Driver
from matinee.sagemaker.processing_jobs import processing
from matinee.sagemaker.states import PROCESSING_JOB, TRAINING_JOB, TRANSFORM_JOB, TUNING_JOB
from matinee.sagemaker.training_jobs import training
from matinee.sagemaker.transform_jobs import transform
from matinee.sagemaker.tuning_jobs import tuning

DRIVERS: Mapping[str, Driver] = {
    TRAINING_JOB.name: training.drive,
    TUNING_JOB.name: tuning.drive,
    TRANSFORM_JOB.name: transform.drive,
    PROCESSING_JOB.name: processing.drive,
}
