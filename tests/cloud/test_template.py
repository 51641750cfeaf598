"""Templates as data: read as cfn-lint reads them, cut to the first pass, judged by conditions."""

from __future__ import annotations

import json

import pytest

from matinee.cloud.errors import TemplateError
from matinee.cloud.template import Kind, Template, references
from tests.cloud import templates

BODY = {
    "Parameters": {"Code": {"Type": "String", "Default": ""}, "Mail": {"Type": "String"}},
    "Conditions": {
        "HasCode": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Code"}, ""]}]},
        "HasBoth": {
            "Fn::And": [
                {"Condition": "HasCode"},
                {"Fn::Or": [{"Fn::Equals": [{"Ref": "Mail"}, "yes"]}, {"Fn::Equals": ["a", "b"]}]},
            ]
        },
        "Odd": {"Fn::Contains": []},
    },
    "Resources": {
        "Always": {"Type": "A"},
        "Coded": {"Type": "B", "Condition": "HasCode"},
        "Mailed": {"Type": "C", "Condition": "HasBoth"},
    },
    "Outputs": {"One": {"Value": "1"}, "Two": {"Value": "2", "Condition": "HasCode"}},
}
SMALL = Template(json.dumps(BODY))


@pytest.mark.parametrize("kind", list(Kind))
def test_short_forms_are_written_out_as_cfn_lint_does(kind: Kind) -> None:
    template = Template.of(kind)
    assert template.body == templates.Template(f"airflow-{kind}.yaml").body
    assert template.kind is kind


@pytest.mark.parametrize("kind", list(Kind))
def test_the_first_pass_is_small_enough_to_be_sent_along(kind: Kind) -> None:
    assert len(Template.of(kind).first_pass()) < 51_200
    body = json.loads(Template.of(kind).first_pass())
    assert set(body["Resources"]) == {"Bucket", "BucketPolicy", "SageMakerRole"}


def test_the_first_pass_is_what_no_condition_is_on() -> None:
    body = json.loads(SMALL.first_pass())
    assert list(body["Resources"]) == ["Always"]
    assert list(body["Outputs"]) == ["One"]
    assert body["Parameters"] == BODY["Parameters"]


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ({}, "Always"),
        ({"Mail": "yes"}, "Always"),
        ({"Code": "1"}, "Always Coded"),
        ({"Code": "1", "Mail": "yes"}, "Always Coded Mailed"),
    ],
)
def test_conditions_decide_which_resources_there_are(chosen: dict[str, str], names: str) -> None:
    assert " ".join(SMALL.resources(chosen)) == names


def test_an_unknown_function_in_a_condition_is_refused() -> None:
    with pytest.raises(TemplateError, match="Fn::Contains in a condition is not understood"):
        SMALL.holds("Odd", {})


def test_references_are_found_in_every_form() -> None:
    piece = {
        "A": [{"Ref": "One"}, {"Fn::GetAtt": ["Two", "Arn"]}],
        "B": {"Fn::Sub": ["${Three.Arn}/${Four}/${!Not}", {"Four": {"Ref": "Five"}}]},
    }
    assert list(references(piece)) == ["One", "Two", "Three", "Four", "Five"]
