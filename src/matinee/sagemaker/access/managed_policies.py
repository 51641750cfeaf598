"""Those of AWS's managed policies that say something about the services here.

AmazonSageMakerFullAccess is much longer on AWS; here it says what it says there about SageMaker,
CloudWatch, Logs, ECR, passing roles, and buckets and objects with "sagemaker" in their names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

PREFIX = "arn:aws:iam::aws:policy/"

_SAGEMAKER_OBJECTS = [
    f"arn:aws:s3:::*{word}*" for word in ("SageMaker", "Sagemaker", "sagemaker", "aws-glue")
]

_STATEMENTS: Mapping[str, list[dict[str, Any]]] = {
    "AdministratorAccess": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
    "AmazonS3FullAccess": [
        {"Effect": "Allow", "Action": ["s3:*", "s3-object-lambda:*"], "Resource": "*"}
    ],
    "AmazonS3ReadOnlyAccess": [
        {
            "Effect": "Allow",
            "Action": ["s3:Get*", "s3:List*", "s3:Describe*"],
            "Resource": "*",
        }
    ],
    "AmazonSageMakerFullAccess": [
        {
            "Effect": "Allow",
            "Action": ["sagemaker:*", "cloudwatch:*", "logs:*", "ecr:Describe*", "iam:ListRoles"],
            "Resource": "*",
        },
        {
            "Effect": "Allow",
            "Action": [
                "s3:GetObject",
                "s3:PutObject",
                "s3:DeleteObject",
                "s3:AbortMultipartUpload",
            ],
            "Resource": _SAGEMAKER_OBJECTS,
        },
        {
            "Effect": "Allow",
            "Action": [
                "s3:CreateBucket",
                "s3:GetBucketLocation",
                "s3:ListBucket",
                "s3:ListAllMyBuckets",
                "s3:GetBucketCors",
                "s3:PutBucketCors",
            ],
            "Resource": "*",
        },
        {
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": "arn:aws:iam::*:role/*",
            "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        },
    ],
}

MANAGED_POLICIES: Mapping[str, str] = {
    PREFIX + name: json.dumps({"Version": "2012-10-17", "Statement": statements})
    for name, statements in _STATEMENTS.items()
}
