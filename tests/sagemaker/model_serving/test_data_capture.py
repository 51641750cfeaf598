"""Captures on their way to S3, from the folder where they wait."""

from __future__ import annotations

import json
from typing import Any

from tests.sagemaker.conftest import Front


def test_a_file_that_cannot_be_read_keeps_no_other(
    front: Front, session: Any, object_store: Any
) -> None:
    folder = front.context.folder / "captures"
    folder.mkdir()
    head = json.dumps({"uri": "s3://captures/whole.jsonl", "role": ""})
    (folder / "a.open").write_bytes(b"")
    (folder / "b.open").write_text(f"{head}\n{{}}\nhalf a li")
    s3 = session.client("s3", endpoint_url=object_store.endpoint)
    s3.create_bucket(Bucket="captures")
    front.context.hosting.captures.upload(front.context)
    stored = s3.get_object(Bucket="captures", Key="whole.jsonl")["Body"].read()
    s3.close()
    assert stored == b"{}\n"
    assert [path.name for path in folder.iterdir()] == ["a.jsonl"]
