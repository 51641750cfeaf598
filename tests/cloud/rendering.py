"""What CloudFormation makes of a template's values, as far as policies use it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

ACCOUNT = "000000000000"
# What a stack is given and what it makes; tests add what they know better.
VALUES: Mapping[str, str] = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackId": f"arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/matinee/1a2b3c4d-1-2-3-4",
    "AWS::StackName": "matinee",
    "AWS::URLSuffix": "amazonaws.com",
    "AthenaDatabase": "matinee_1a2b3c4d",
    "AthenaWorkgroup": "matinee",
    "Bucket": "bucket",
    "GlueJob": "matinee",
    "GlueWorkers": "2",
    "Recommender": "recommender",
    "SageMakerRole.Arn": f"arn:aws:iam::{ACCOUNT}:role/matinee-sagemaker",
    "WorkflowImage": f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/films:1.2",
}


def rendered(value: Any, values: Mapping[str, str]) -> Any:
    """Return a part of a template with its functions worked out; `values` go before VALUES."""
    known = {**VALUES, **values}
    known.setdefault("Bucket.Arn", f"arn:aws:s3:::{known['Bucket']}")
    match value:
        case {"Ref": name}:
            return known[name]
        case {"Fn::GetAtt": parts}:
            return known[".".join(parts)]
        case {"Fn::Sub": [str(text), dict(more)]}:
            own = {name: rendered(each, values) for name, each in more.items()}
            return rendered({"Fn::Sub": text}, {**values, **own})
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{([^}]+)\}", lambda found: known[found[1]], text)
        case {"Fn::Select": [number, listed]}:
            return rendered(listed, values)[int(number)]
        case {"Fn::Split": [separator, text]}:
            return rendered(text, values).split(separator)
        case dict():
            assert not any(name.startswith("Fn::") for name in value), value
            return {name: rendered(each, values) for name, each in value.items()}
        case list():
            return [rendered(each, values) for each in value]
        case _:
            return value
