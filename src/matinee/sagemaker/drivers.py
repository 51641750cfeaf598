"""Which driver runs which kind of job."""

from __future__ import annotations

from collections.abc import Mapping

from matinee.sagemaker import processing, training, transform, tuning
from matinee.sagemaker.jobs import Driver
from matinee.sagemaker.states import PROCESSING_JOB, TRAINING_JOB, TRANSFORM_JOB, TUNING_JOB

DRIVERS: Mapping[str, Driver] = {
    TRAINING_JOB.name: training.drive,
    TUNING_JOB.name: tuning.drive,
    TRANSFORM_JOB.name: transform.drive,
    PROCESSING_JOB.name: processing.drive,
}
