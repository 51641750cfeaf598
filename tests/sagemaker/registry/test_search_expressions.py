"""The conditions of Search, one by one."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest

from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.registry.search_expressions import (
    MAX_DEPTH,
    check,
    matches,
    sort_key,
    values,
)

DOCUMENT: dict[str, Any] = {
    "TrainingJobName": "fit-1",
    "CreationTime": datetime(2026, 1, 1, tzinfo=UTC),
    "EnableManagedSpotTraining": False,
    "BillableTimeInSeconds": 90,
    "HyperParameters": {"rate": "0.4", "eta.min": "x", "epochs": "10", "most": "inf"},
    "InputDataConfig": [
        {"ChannelName": "train", "DataSource": {"S3DataSource": {"S3Uri": "s3://b/train"}}},
        {"ChannelName": "test", "DataSource": {"S3DataSource": {"S3Uri": "s3://b/test"}}},
    ],
    "Metrics": [
        {"MetricName": "test:rmse", "Value": 0.9},
        {"MetricName": "loss", "Last": 2.0, "Max": 3.0},
    ],
    "Parameters": {"n": {"NumberValue": 5.0}, "kind": {"StringValue": "fm"}},
    "Tags": [{"Key": "team.name", "Value": "a"}],
}


def holds(name: str, operator: str | None, value: str | None) -> bool:
    condition = {
        "Name": name,
        **({} if operator is None else {"Operator": operator}),
        **({} if value is None else {"Value": value}),
    }
    return matches(DOCUMENT, {"Filters": [condition]})


@pytest.mark.parametrize(
    ("name", "operator", "value"),
    [
        ("TrainingJobName", None, "fit-1"),
        ("TrainingJobName", "NotEquals", "fit"),
        ("TrainingJobName", "Contains", "it-"),
        ("TrainingJobName", "In", "a, fit-1"),
        ("TrainingJobName", "Exists", None),
        ("FailureReason", "NotExists", None),
        ("FailureReason", "NotEquals", "x"),
        ("CreationTime", "Equals", "2026-01-01T00:00:00"),
        ("CreationTime", "LessThan", "2026-01-01T00:00:00.001Z"),
        ("CreationTime", "GreaterThanOrEqualTo", "2026-01-01"),
        ("BillableTimeInSeconds", "GreaterThan", "9"),
        ("BillableTimeInSeconds", "LessThanOrEqualTo", "90"),
        ("EnableManagedSpotTraining", "Equals", "False"),
        ("HyperParameters.rate", "LessThan", "0.5"),
        ("HyperParameters.rate", "LessThan", "1"),
        ("HyperParameters.rate", "Equals", "0"),
        ("HyperParameters.epochs", "GreaterThan", "9"),
        ("HyperParameters.eta.min", "Equals", "x"),
        ("HyperParameters.most", "Equals", "inf"),
        ("InputDataConfig.ChannelName", "Equals", "test"),
        ("Metrics.test:rmse", "GreaterThan", "0.5"),
        ("Metrics.loss", "Equals", "2"),
        ("metrics.loss.max", "Equals", "3.0"),
        ("Parameters.n", "GreaterThan", "4.5"),
        ("Parameters.kind", "Equals", "fm"),
        ("Tags.team.name", "Equals", "a"),
    ],
)
def test_holds(name: str, operator: str | None, value: str | None) -> None:
    assert holds(name, operator, value)


@pytest.mark.parametrize(
    ("name", "operator", "value"),
    [
        ("TrainingJobName", None, "fit"),
        ("TrainingJobName", "NotEquals", "fit-1"),
        ("TrainingJobName", "In", "fit,1"),
        ("TrainingJobName", "NotExists", None),
        ("FailureReason", "Exists", None),
        ("FailureReason", "Equals", ""),
        ("CreationTime", "Equals", "yesterday"),
        ("BillableTimeInSeconds", "GreaterThan", "x"),
        ("BillableTimeInSeconds", "GreaterThan", "90"),
        ("HyperParameters.rate", "LessThan", "0"),
        ("InputDataConfig.ChannelName", "NotEquals", "test"),
        ("HyperParameters.most", "LessThan", "9"),
        ("Metrics.none", "LessThan", "9"),
        ("Tags.other", "Equals", "a"),
    ],
)
def test_does_not_hold(name: str, operator: str | None, value: str | None) -> None:
    assert not holds(name, operator, value)


def test_nested_filters_hold_of_one_item() -> None:
    def nested(channel: str, uri: str) -> dict[str, Any]:
        return {
            "NestedFilters": [
                {
                    "NestedPropertyName": "InputDataConfig",
                    "Filters": [
                        {"Name": "InputDataConfig.ChannelName", "Value": channel},
                        {
                            "Name": "InputDataConfig.DataSource.S3DataSource.S3Uri",
                            "Operator": "Contains",
                            "Value": uri,
                        },
                    ],
                }
            ]
        }

    assert matches(DOCUMENT, nested("test", "/test"))
    assert not matches(DOCUMENT, nested("test", "/train"))


def test_all_or_any() -> None:
    yes, no = {"Name": "TrainingJobName", "Value": "fit-1"}, {"Name": "A", "Value": "b"}
    assert not matches(DOCUMENT, {"Filters": [yes, no]})
    assert matches(DOCUMENT, {"Filters": [yes, no], "Operator": "Or"})
    assert matches(
        DOCUMENT, {"SubExpressions": [{"Filters": [no]}, {"Filters": [yes]}], "Operator": "Or"}
    )


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ({}, "at least one of"),
        ({"Filters": [{"Name": "a", "Value": "b"}] * 51}, "has 51 conditions"),
        ({"SubExpressions": [{"Filters": [{"Name": "a"}]}]}, "must have a Value"),
    ],
)
def test_expressions_that_are_refused(expression: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationException, match=words):
        check(expression)


@pytest.mark.parametrize(("levels", "is_refused"), [(MAX_DEPTH, False), (MAX_DEPTH + 1, True)])
def test_how_deep_an_expression_may_be(levels: int, is_refused: bool) -> None:
    expression: dict[str, Any] = {"Filters": [{"Name": "A", "Value": "b"}]}
    for _ in range(levels - 1):
        expression = {"SubExpressions": [expression]}
    with pytest.raises(ValidationException, match="too deeply") if is_refused else nullcontext():
        check(expression)


def test_values_of_lists_are_those_of_each_item() -> None:
    assert list(values(DOCUMENT, "InputDataConfig.ChannelName")) == ["train", "test"]
    assert list(values(DOCUMENT, "InputDataConfig.None")) == []


def test_what_has_no_value_sorts_first() -> None:
    documents: list[dict[str, Any]] = [{"a": "x"}, {"a": 2}, {}, {"a": 1.5}, {"a": "b"}]
    ordered = sorted(documents, key=lambda document: sort_key(document, "a"))
    assert ordered == [{}, {"a": 1.5}, {"a": 2}, {"a": "b"}, {"a": "x"}]
    assert sort_key(DOCUMENT, "CreationTime") > sort_key(DOCUMENT, "BillableTimeInSeconds")
