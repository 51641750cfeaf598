"""Drive a tuning job: propose hyperparameters, train, learn from the objective, again.

Its trials are its training jobs, kept with their numbers and hyperparameters in the store, so a
server that takes the job up knows every trial and repeats none. With a RandomSeed each proposal
depends on a fixed part of the results, whatever order parallel training jobs end in.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from matinee.sagemaker import failures
from matinee.sagemaker.failures import JobFailedError
from matinee.sagemaker.jobs import Job, StopRequested
from matinee.sagemaker.monitoring import job_metrics
from matinee.sagemaker.monitoring.metric_search import MetricsError
from matinee.sagemaker.states import TRAINING_JOB, IllegalTransitionError, State
from matinee.sagemaker.store import Resource
from matinee.sagemaker.training_jobs import training_requests
from matinee.sagemaker.tuning_jobs import (
    definitions,
    early_stopping,
    objective_index,
    search,
    trials,
    warm_start,
)
from matinee.sagemaker.tuning_jobs.completion import Progress
from matinee.sagemaker.tuning_jobs.definitions import OBJECTIVE_METRIC, Definition
from matinee.sagemaker.tuning_jobs.early_stopping import Halving, MedianRule, Rule
from matinee.sagemaker.tuning_jobs.ranges import combinations
from matinee.sagemaker.tuning_jobs.trials import Trials

log = logging.getLogger(__name__)

# After so many training jobs without one success AWS gives up.
GIVE_UP_AFTER = 5
# Every change is announced; this is for a child that another server's death left as it was.
_LOOK_SECONDS = 5.0
# What a trial reports is not announced.
_LISTEN_SECONDS = 0.5


def drive(job: Job) -> None:
    """Take a tuning job from where it stands to its end."""
    if job.resource.document["HyperParameterTuningJobConfig"]["Strategy"] == "Bayesian":
        search.get_ready()
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
        self._resource = resource = job.resource
        self._described = dict(resource.document)
        store = job.context.store
        self._config: Mapping[str, Any] = resource.document["HyperParameterTuningJobConfig"]
        self._definitions = definitions.read(self._config, resource.private["definitions"])
        self._direction = self._definitions[0].objective["Type"]
        self._capacities = [combinations(each.parameters) for each in self._definitions]
        limits = self._config["ResourceLimits"]
        self._parallel: int = limits["MaxParallelTrainingJobs"]
        # Grid search may leave it out: every combination once.
        self._wanted: float = limits.get("MaxNumberOfTrainingJobs", sum(self._capacities))
        longest = limits.get("MaxRuntimeInSeconds")
        self._deadline = longest and resource.created + timedelta(seconds=longest)
        self._criteria: Mapping[str, Any] = self._config.get("TuningJobCompletionCriteria", {})
        self._rules = [self._rule(definition) for definition in self._definitions]
        self._past = warm_start.past(store, resource, self._definitions[0])
        self._trials = Trials(store, resource, self._direction)
        self._indexed = objective_index.known(store, resource.private["folder"])
        self._progress = Progress(
            self._direction,
            max(len(definition.parameters) for definition in self._definitions),
            resource.document.get("TuningJobCompletionDetails", {}).get("ConvergenceDetectedTime"),
        )

    def _rule(self, definition: Definition) -> Rule | None:
        if self._config["Strategy"] == "Hyperband":
            smallest, largest = early_stopping.resources(self._config, definition.statics)
            return Halving(self._direction, smallest, largest)
        stops_early = self._config["TrainingJobEarlyStoppingType"] == "Auto"
        return MedianRule(self._direction) if stops_early else None

    def search(self) -> None:
        """Run trials until there were as many as wanted and all have ended, or enough is found.

        Raises
        ------
        JobFailedError
            The first ones all failed.
        StopRequested, ServerClosing
        """
        while True:
            seen = self._job.changes
            self._job.check()
            self._look()
            if self._is_enough():
                self.stop_children()
                return
            if len(self._trials) - len(self._trials.running) >= GIVE_UP_AFTER:
                self.refuse_failure()
            self._stop_hopeless()
            running = self._trials.running
            if len(self._trials) < self._wanted and len(running) < self._parallel:
                if self._may_propose():
                    self._start_child()
                    continue
            elif not running:
                return
            self._job.wait_for_change(seen, self._pause())

    def _is_enough(self) -> bool:
        is_late = self._deadline is not None and self._job.context.clock() >= self._deadline
        return is_late or self._progress.meets(self._criteria)

    def _pause(self) -> float:
        seconds = _LOOK_SECONDS if self._rules == [None] * len(self._rules) else _LISTEN_SECONDS
        if self._deadline is not None:
            left = (self._deadline - self._job.context.clock()).total_seconds()
            seconds = min(seconds, max(left, 0.0))
        return seconds

    def refuse_failure(self) -> None:
        """Fail the job if no training job that has ended was of use.

        Raises
        ------
        JobFailedError
        """
        ended, last = len(self._trials) - len(self._trials.running), self._trials.last
        if last is not None and self._trials.failures == ended:
            raise JobFailedError(
                f"ClientError: No training job succeeded after {ended} attempts. For "
                "additional details, please take a look at the training job failures by listing "
                "training jobs for the hyperparameter tuning job. The last one: "
                f"{last.document['FailureReason']}"
            )
        if self._trials.best is None:
            raise JobFailedError(
                f"ClientError: No objective metrics found after running {ended} training "
                "jobs. Please ensure that the custom algorithm is emitting the objective metric as "
                "defined by the regular expression provided."
            )

    def stop_children(self) -> None:
        """Stop the training jobs that run, and return when all have ended."""
        for child in self._trials.running.values():
            self._stop(child)
        while True:
            seen = self._job.changes
            self._job.raise_if_closing()
            self._look()
            if not self._trials.running:
                return
            self._job.wait_for_change(seen, _LOOK_SECONDS)

    def _stop(self, child: Resource) -> None:
        # It may have ended meanwhile, or even be deleted.
        with contextlib.suppress(IllegalTransitionError, KeyError):
            self._job.context.jobs.stop(TRAINING_JOB.name, child.name)

    def _look(self) -> None:
        """Read the unfinished training jobs again, and describe what is new."""
        now = self._job.context.clock()
        for number, child in self._trials.look():
            if (value := trials.objective(child)) is not None:
                self._progress.add(value, now)
                if child.name not in self._indexed:
                    objective_index.add(self._job.context.store, child, value)
            if (rule := self._rules[child.private["definition"]]) is not None:
                rule.close(number, self._reports(child))
        news: dict[str, Any] = {
            "TrainingJobStatusCounters": self._trials.status_counters,
            "ObjectiveStatusCounters": self._trials.objective_counters,
        }
        if self._trials.best is not None:
            news["BestTrainingJob"] = trials.summary(self._trials.best)
            news["TuningJobCompletionDetails"] = self._progress.details
        if (overall := self._overall_best()) is not None:
            news["OverallBestTrainingJob"] = overall
        if any(self._described.get(member) != value for member, value in news.items()):
            seconds = (now - self._resource.created).total_seconds()
            news["ConsumedResources"] = {"RuntimeInSeconds": round(seconds)}
            self._job.describe(**news)
            self._described.update(news)

    def _overall_best(self) -> Mapping[str, Any] | None:
        """Return the summary of the best trial of this job and its parents on the same data."""
        if not self._past.comparable:
            return None
        best = self._trials.best
        own = None if best is None else trials.summary(best)
        theirs = self._past.best
        if own is None or theirs is None:
            found = own or theirs
        else:
            metric = "FinalHyperParameterTuningJobObjectiveMetric"
            values = own[metric]["Value"], theirs[metric]["Value"]
            found = theirs if trials.is_better(values[1], values[0], self._direction) else own
        return None if found is None else {"TuningJobName": self._job.name, **found}

    def _reports(self, child: Resource) -> list[float]:
        """Return what a trial has reported of its objective so far, once an epoch."""
        try:
            points = job_metrics.of_job(self._job.context, child)
        except MetricsError as error:
            # Stopping early only saves time; the search goes on without it.
            log.warning("%s: the objective so far is not known: %s", child.name, error)
            return []
        return [point.value for point in points if point.name == OBJECTIVE_METRIC]

    def _stop_hopeless(self) -> None:
        for number, child in self._trials.running.items():
            rule = self._rules[child.private["definition"]]
            if rule is None or child.document["SecondaryStatus"] != State.TRAINING:
                continue
            reports = self._reports(child)
            end = early_stopping.epochs(child.document["HyperParameters"])
            # One that has made its last epoch only saves its model yet.
            if len(reports) < (end or math.inf) and rule.is_hopeless(number, reports):
                self._stop(child)

    def _may_propose(self) -> bool:
        """Return whether the trials that the next proposal must know of have ended."""
        if "RandomSeed" not in self._config or self._config["Strategy"] != "Bayesian":
            return True
        return all(number >= self._known for number in self._trials.running)

    @property
    def _known(self) -> int:
        """Of how many first trials the next proposal knows the results.

        With a RandomSeed, only of those that must have ended by now however the parallel ones run.
        """
        if "RandomSeed" not in self._config:
            return len(self._trials)
        return max(0, len(self._trials) - self._parallel + 1)

    def _start_child(self) -> None:
        context, strategy = self._job.context, self._config["Strategy"]
        counts = [self._trials.count(number) for number in range(len(self._definitions))]
        turn = definitions.next_one(counts, self._capacities)
        definition = self._definitions[turn]
        earlier, own = self._past.join(self._trials.of(turn, first=self._known))
        tuned = search.propose(
            definition.parameters,
            strategy=strategy,
            direction=self._direction,
            seed=f"{self._resource.private['seed']}/{turn}",
            trials=own,
            earlier=earlier,
        )
        number = len(self._trials) + 1
        name = f"{self._job.name}-{number:03d}-{context.new_id()[-8:]}"
        algorithm = failures.algorithm_of(definition.image, context.algorithms)
        private = {
            "trial": number,
            "tuned": tuned,
            "definition": turn,
            "objective": dict(definition.objective),
            "tuning_job": self._resource.private["folder"],
        }
        if definition.name is not None:
            private["definition_name"] = definition.name
        child = training_requests.new_job(
            context,
            definition.training_job(name, tuned),
            algorithm,
            more_definitions=definition.objective_metrics(algorithm),
            described={"TuningJobArn": self._resource.arn},
            private=private,
            parent=self._resource.arn,
        )
        context.store.insert(child, self._resource.private["tags"])
        self._trials.add(child)
        context.jobs.submit(child)
