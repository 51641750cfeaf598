"""What the engines of the stacks ask AWS for, beside what the templates allow for them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import sqlglot
from sqlglot import exp

from matinee.sagemaker.access.policies import Decision, evaluate, read_identity_policy
from matinee.workflow.engines.glue import GlueError
from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings
from tests.cloud.rendering import ACCOUNT, VALUES, rendered
from tests.cloud.templates import Template, as_list
from tests.workflow.conftest import grid
from tests.workflow.local_athena import local_athena
from tests.workflow.local_glue import SLEEPER, Jobs, local_glue
from tests.workflow.test_engines import HEADER, parameters, review

HERE = f"us-east-1:{ACCOUNT}"
WORKGROUP = f"arn:aws:athena:{HERE}:workgroup/{VALUES['AthenaWorkgroup']}"
JOB = f"arn:aws:glue:{HERE}:job/{VALUES['GlueJob']}"
# AWS, "Configure access to databases and tables in the AWS Glue Data Catalog": what Athena does
# with the permissions of who asks, for each kind of statement.
OF_READING = {"glue:GetDatabase", "glue:GetTable", "glue:GetPartitions"}
OF_CREATING = OF_READING | {"glue:CreateTable"}
OF_DROPPING = OF_READING | {"glue:DeleteTable"}
# AWS, "Control access to Amazon S3 from Athena": Athena looks where a bucket is, and writes what is
# large in parts.
OF_RESULTS = {
    "s3:GetBucketLocation", "s3:ListBucketMultipartUploads", "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
}  # fmt: skip

Put = Callable[[str, bytes | str], str]
Asked = set[tuple[str, str]]


@pytest.fixture
def template() -> Template:
    """One of the two: a test compares their policies."""
    return Template("airflow-ec2.yaml")


@pytest.fixture
def asked(s3: Any) -> Iterator[Asked]:
    """What the engines' clients ask for from now on, and on what."""
    del s3
    seen: Asked = set()

    def note(model: Any, **_: Any) -> None:
        service = model.service_model.signing_name
        seen.add((f"{service}:{model.name}", WORKGROUP if service == "athena" else JOB))

    boto3.setup_default_session()
    session = boto3.DEFAULT_SESSION
    assert session is not None
    for service in ("athena", "glue"):
        session.events.register(f"before-call.{service}", note)
    yield seen
    boto3.DEFAULT_SESSION = None


def ratings(put: Put) -> str:
    return put("ratings/r.tsv", "\n".join([HEADER, *(review(*row) for row in grid(12, 12))]))


def settings(values: dict[str, Any], **more: Any) -> Settings:
    return Settings.from_parameters({**values, "check_interval": 0.1, "features": [], **more})


def refused(template: Template, policy: str, asked: Asked) -> Asked:
    """Return what the template's policy doesn't allow."""
    document = rendered(template.policies_of("AirflowRole")[policy], {})
    policies = [read_identity_policy(policy, json.dumps(document))]
    return {each for each in asked if evaluate(policies, *each, {})[0] is not Decision.ALLOWED}


def allowed(template: Template, policy: str) -> set[str]:
    statements = template.policies_of("AirflowRole")[policy]["Statement"]
    return {action for statement in statements for action in as_list(statement["Action"])}


def of_athena(statement: str) -> Asked:
    """Return what Athena does in the Glue catalog for a statement."""
    parsed = sqlglot.parse_one(statement, read="athena")
    deeds = OF_READING
    if isinstance(parsed, exp.Create):
        deeds = OF_CREATING
        if parsed.find(exp.PartitionedByProperty):
            deeds = deeds | {"glue:BatchCreatePartition"}
    elif isinstance(parsed, exp.Drop):
        deeds = OF_DROPPING
    database = VALUES["AthenaDatabase"]
    own = {expression.alias for expression in parsed.find_all(exp.CTE)}
    names = {table.name for table in parsed.find_all(exp.Table)} - own
    things = ["catalog", f"database/{database}", *(f"table/{database}/{name}" for name in names)]
    return {(deed, f"arn:aws:glue:{HERE}:{thing}") for deed in deeds for thing in things}


def test_athena_may_do_what_the_engine_asks_for_and_no_more(
    put: Put, bucket: str, asked: Asked, template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = parameters(ratings(put), bucket, "athena")
    with local_athena() as (url, catalog):
        monkeypatch.setenv("AWS_ENDPOINT_URL_ATHENA", url)
        preprocess(settings(values), {"run": "matinee-1"}, part_rows=1000)
    for statement in catalog.statements:
        asked |= of_athena(statement)
    assert refused(template, "athena", asked) == set()
    used = {action for action, _ in asked}
    assert allowed(template, "athena") - used == OF_RESULTS


def test_a_glue_jobs_starter_may_do_what_the_engine_asks_for_and_no_more(
    put: Put,
    bucket: str,
    asked: Asked,
    template: Template,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = settings(parameters(ratings(put), bucket, "glue"), glue_job=VALUES["GlueJob"])
    jobs = Jobs(chosen.glue_job, tmp_path, [sys.executable, *SLEEPER])
    with local_glue(jobs) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", url)
        request = f"{chosen.folder('matinee-1')}/glue/request.json"
        # One that a killed try left must be stopped; without Spark the next one fails.
        jobs.start_job_run(JobName=chosen.glue_job, Arguments={"--request": request})
        jobs.command = [sys.executable]
        with pytest.raises(GlueError):
            preprocess(chosen, {"run": "matinee-1"})
    assert refused(template, "glue", asked) == set()
    assert allowed(template, "glue") == {action for action, _ in asked}
