"""SageMaker's Search: find jobs, experiments and packages by what is known of them.

Every resource of the kind is looked at; what takes work to know (tags, metrics, trials) is looked
up for all of them only if a condition or the order asks for it, else for those that are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.http import service_models
from matinee.sagemaker.registry import (
    component_metrics,
    components,
    experiments,
    search_expressions,
    sequences,
)
from matinee.sagemaker.registry.components import Component

DEFAULT_SORT = "LastModifiedTime"


@dataclass(slots=True)
class _Found:
    """A resource and what is known of it so far."""

    document: dict[str, Any]
    arn: str
    component: Component | None = None


@dataclass(frozen=True, slots=True)
class _Searched:
    """A kind of resource that can be searched.

    Attributes
    ----------
    member
        Of a SearchRecord.
    shape
        Of the record.
    find
        Returns all there are.
    """

    member: str
    shape: str
    find: Callable[[Context], Iterable[_Found]]


def search(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return one page of what satisfies an expression, the last modified first.

    Raises
    ------
    ValidationException
        The kind of resource cannot be searched here, the expression has no condition or too many,
        or the token is not one of this query.
    """
    resource = request["Resource"]
    searched = _SEARCHED.get(resource)
    if searched is None:
        raise ValidationException(f"not implemented by matinee: Search with Resource {resource}")
    expression = _expression(request)
    if request.get("CrossAccountFilterOption") == "CrossAccount":
        return {"Results": [], "TotalHits": {"Value": 0, "Relation": "EqualTo"}}
    sort_by = request.get("SortBy", DEFAULT_SORT)
    known = service_models.members("sagemaker", searched.shape)
    # A training job's record has no Metrics, but can be found by them.
    possible = {name for name, (member, _) in _COMPLETIONS.items() if member in known} | {"metrics"}
    asked = possible & {
        name.partition(".")[0].lower() for name in (sort_by, *search_expressions.names(expression))
    }
    hits = []
    for found in searched.find(context):
        _complete(context, found, asked)
        if not expression or search_expressions.matches(found.document, expression):
            hits.append(found)

    def key(found: _Found) -> sequences.Key:
        return (*search_expressions.sort_key(found.document, sort_by), found.arn)

    def show(found: _Found) -> dict[str, Any]:
        _complete(context, found, possible)
        return {
            searched.member: {
                name: value for name, value in found.document.items() if name in known
            }
        }

    answer = sequences.page(
        hits, {"SortOrder": "Descending", **request}, member="Results", key=key, show=show
    )
    return {**answer, "TotalHits": {"Value": len(hits), "Relation": "EqualTo"}}


def _expression(request: Mapping[str, Any]) -> dict[str, Any]:
    given = request.get("SearchExpression")
    if given is not None:
        search_expressions.check(given)
    conditions = request.get("VisibilityConditions", ())
    if any(item.keys() != {"Key", "Value"} for item in conditions):
        raise ValidationException("A visibility condition has a Key and a Value.")
    visible = [{"Name": item["Key"], "Value": item["Value"]} for item in conditions]
    return {
        **({"SubExpressions": [given]} if given is not None else {}),
        **({"Filters": visible} if visible else {}),
    }


def _complete(context: Context, found: _Found, asked: Iterable[str]) -> None:
    for name in asked:
        member, complete = _COMPLETIONS[name]
        if member not in found.document:
            found.document[member] = complete(context, found)


def _tags(context: Context, found: _Found) -> list[dict[str, str]]:
    return context.store.tags(found.arn)


def _metrics(context: Context, found: _Found) -> list[dict[str, Any]]:
    if found.component is not None:
        return component_metrics.summaries(context, found.component)
    finals: list[dict[str, Any]] = found.document.get("FinalMetricDataList", [])
    return finals


def _source_detail(_context: Context, found: _Found) -> dict[str, Any] | None:
    component = found.component
    if component is None or component.source is None:
        return None
    kind, job = component.source.kind, component.stored
    known = service_models.members("sagemaker", kind)
    described = {name: value for name, value in job.document.items() if name in known}
    return {"SourceArn": job.arn, kind: described}


def _summaries(context: Context, found: _Found) -> list[dict[str, Any]]:
    parts = (components.find(context, arn) for arn in experiments.members(context, found.arn))
    return [
        {
            "TrialComponentName": part.name,
            "TrialComponentArn": part.arn,
            **(
                {"TrialComponentSource": part.document["Source"]}
                if "Source" in part.document
                else {}
            ),
            "CreationTime": part.created,
            "CreatedBy": {},
        }
        for part in parts
        if part is not None
    ]


_COMPLETIONS: Mapping[str, tuple[str, Callable[[Context, _Found], Any]]] = {
    "tags": ("Tags", _tags),
    "metrics": ("Metrics", _metrics),
    "sourcedetail": ("SourceDetail", _source_detail),
    "trialcomponentsummaries": ("TrialComponentSummaries", _summaries),
}


def _of_kind(kind: str) -> Callable[[Context], Iterable[_Found]]:
    def find(context: Context) -> Iterable[_Found]:
        return (_Found(dict(found.document), found.arn) for found in context.store.find(kind))

    return find


def _components(context: Context) -> Iterable[_Found]:
    trials = experiments.trials_of_all(context)
    for component in components.everything(context):
        parents = [
            {"TrialName": trial["TrialName"], "ExperimentName": trial["ExperimentName"]}
            for trial in trials.get(component.arn, ())
        ]
        document = {**component.document, "Parents": parents}
        if component.source is not None:
            config = component.stored.document.get("ExperimentConfig", {})
            if "RunName" in config:
                document["RunName"] = config["RunName"]
        yield _Found(document, component.arn, component)


_SEARCHED: Mapping[str, _Searched] = {
    "TrainingJob": _Searched("TrainingJob", "TrainingJob", _of_kind("TrainingJob")),
    "HyperParameterTuningJob": _Searched(
        "HyperParameterTuningJob",
        "HyperParameterTuningJobSearchEntity",
        _of_kind("HyperParameterTuningJob"),
    ),
    "Experiment": _Searched("Experiment", "Experiment", _of_kind("Experiment")),
    "ExperimentTrial": _Searched("Trial", "Trial", _of_kind("Trial")),
    "ExperimentTrialComponent": _Searched("TrialComponent", "TrialComponent", _components),
    "ModelPackage": _Searched("ModelPackage", "ModelPackage", _of_kind("ModelPackage")),
    "ModelPackageGroup": _Searched(
        "ModelPackageGroup", "ModelPackageGroup", _of_kind("ModelPackageGroup")
    ),
}

OPERATIONS: Mapping[str, Operation] = {"Search": search}
