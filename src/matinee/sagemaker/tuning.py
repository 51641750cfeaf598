"""Drive a tuning job: propose hyperparameters, train, learn from the objective, again.

Its trials are its training jobs, kept with their numbers and hyperparameters in the store, so a
server that takes the job up knows every trial and repeats none. With a RandomSeed each proposal
depends on a fixed part of the results, whatever order parallel training jobs end in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from matinee.sagemaker import failures, search, training_requests, trials, tuning_requests
from matinee.sagemaker.failures import JobFailedError
from matinee.sagemaker.jobs import Job, StopRequested
from matinee.sagemaker.search import Trial
from matinee.sagemaker.states import TRAINING_JOB, IllegalTransitionError, State
from matinee.sagemaker.store import Resource

# After so many training jobs without one success AWS gives up.
GIVE_UP_AFTER = 5
# Every change is announced; this is for a child that another server's death left as it was.
_LOOK_SECONDS = 5.0


def drive(job: Job) -> None:
    """Take a tuning job from where it stands to its end."""
    tuning = _Tuning(job)
    try:
        tuning.search()
        tuning.refuse_failure()
        job.move(State.COMPLETED)
    except JobFailedError:
        tuning.stop_children()
        raise
    except StopRequested:
        tuning.stop_children()
        job.move(State.STOPPED)


class _Tuning:
    """One tuning job and its training jobs so far."""

    def __init__(self, job: Job) -> None:
        self._job = job
        resource = job.resource
        self._config: Mapping[str, Any] = resource.document["HyperParameterTuningJobConfig"]
        self._definition: Mapping[str, Any] = resource.private["definition"]
        self._seed: int = resource.private["seed"]
        self._space = search.space(self._config["ParameterRanges"])
        self._children = trials.training_jobs(job.context.store, resource.arn)

    def search(self) -> None:
        """Run trials until there were as many as wanted, and all have ended.

        Raises
        ------
        JobFailedError
            The first ones all failed.
        StopRequested, ServerClosing
        """
        limits = self._config["ResourceLimits"]
        wanted, parallel = limits["MaxNumberOfTrainingJobs"], limits["MaxParallelTrainingJobs"]
        while True:
            seen = self._job.changes
            self._job.check()
            self._look()
            running = [child for child in self._children if not trials.has_ended(child)]
            if len(self._children) - len(running) >= GIVE_UP_AFTER:
                self.refuse_failure()
            if len(self._children) < wanted and len(running) < parallel:
                known = self._known(parallel)
                if known is not None:
                    self._start_child(known)
                    continue
            elif not running:
                return
            self._job.wait_for_change(seen, _LOOK_SECONDS)

    def refuse_failure(self) -> None:
        """Fail the job if no training job that has ended was of use.

        Raises
        ------
        JobFailedError
        """
        ended = [child for child in self._children if trials.has_ended(child)]
        completed = [child for child in ended if child.status != "Failed"]
        if not completed:
            raise JobFailedError(
                f"ClientError: No training job succeeded after {len(ended)} attempts. For "
                "additional details, please take a look at the training job failures by listing "
                "training jobs for the hyperparameter tuning job. The last one: "
                f"{ended[-1].document['FailureReason']}"
            )
        if all(trials.objective(child) is None for child in ended):
            raise JobFailedError(
                f"ClientError: No objective metrics found after running {len(ended)} training "
                "jobs. Please ensure that the custom algorithm is emitting the objective metric as "
                "defined by the regular expression provided."
            )

    def stop_children(self) -> None:
        """Stop the training jobs that run, and return when all have ended."""
        jobs = self._job.context.jobs
        for child in self._children:
            with contextlib.suppress(IllegalTransitionError):  # it has ended meanwhile
                jobs.stop(TRAINING_JOB.name, child.name)
        while True:
            seen = self._job.changes
            self._job.raise_if_closing()
            self._look()
            if all(map(trials.has_ended, self._children)):
                return
            self._job.wait_for_change(seen, _LOOK_SECONDS)

    def _look(self) -> None:
        """Read the unfinished training jobs again, and describe what is new."""
        store, document = self._job.context.store, self._job.resource.document
        for number, child in enumerate(self._children):
            if not trials.has_ended(child):
                self._children[number] = store.get(TRAINING_JOB.name, child.name) or child
        objective = self._config["HyperParameterTuningJobObjective"]
        news: dict[str, Any] = {
            "TrainingJobStatusCounters": trials.status_counters(self._children),
            "ObjectiveStatusCounters": trials.objective_counters(self._children),
            "ConsumedResources": {
                "RuntimeInSeconds": sum(
                    child.document.get("TrainingTimeInSeconds", 0) for child in self._children
                )
            },
        }
        if best := trials.best(self._children, objective["Type"]):
            news["BestTrainingJob"] = trials.summary(best, objective)
        if any(document.get(member) != value for member, value in news.items()):
            self._job.describe(**news)

    def _known(self, parallel: int) -> list[Trial] | None:
        """Return the trials as the next proposal may know them; None if it must wait for one."""
        rely_on = self._children
        if "RandomSeed" in self._config:
            # Only trials that must have ended by now however the parallel ones run, and all of them
            rely_on = self._children[: max(0, len(self._children) - parallel + 1)]
            needs_results = self._config["Strategy"] == "Bayesian"
            if needs_results and not all(map(trials.has_ended, rely_on)):
                return None
        return [
            *_as_trials(rely_on),
            *(Trial(child.private["tuned"], None) for child in self._children[len(rely_on) :]),
        ]

    def _start_child(self, known: Sequence[Trial]) -> None:
        context, config = self._job.context, self._config
        number = len(known) + 1
        tuned = search.propose(
            self._space,
            strategy=config["Strategy"],
            direction=config["HyperParameterTuningJobObjective"]["Type"],
            seed=self._seed,
            trials=known,
        )
        image = self._definition["AlgorithmSpecification"]["TrainingImage"]
        algorithm = failures.algorithm_of(image, context.algorithms)
        name = f"{self._job.name}-{number:03d}-{context.new_id()[-8:]}"
        objective = tuning_requests.objective_definition(config, self._definition, algorithm)
        private = {"trial": number, "tuned": tuned}
        if "DefinitionName" in self._definition:
            private["definition_name"] = self._definition["DefinitionName"]
        child = training_requests.new_job(
            context,
            tuning_requests.child_request(self._definition, config, name, tuned),
            algorithm,
            more_definitions=[objective],
            described={"TuningJobArn": self._job.resource.arn},
            private=private,
            parent=self._job.resource.arn,
        )
        context.store.insert(child)
        self._children.append(child)
        context.jobs.submit(TRAINING_JOB.name, name)


def _as_trials(children: Sequence[Resource]) -> list[Trial]:
    return [Trial(child.private["tuned"], trials.objective(child)) for child in children]
