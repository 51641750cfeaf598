"""Links by tag: the value is data, wherever it stands in the address."""

from __future__ import annotations

import pytest

from matinee.sagemaker.console import tag_links
from matinee.sagemaker.console.tag_links import TagLinkError


def test_a_value_is_encoded() -> None:
    links = tag_links.read(["airflow-run=http://127.0.0.1:8080/dags/x/runs/{}"])
    tags = [
        {"Key": "airflow-run", "Value": "manual__12:00+00:00/../?x"},
        {"Key": "a", "Value": "b"},
    ]
    assert tag_links.found(links, tags) == {
        "airflow-run": "http://127.0.0.1:8080/dags/x/runs/manual__12%3A00%2B00%3A00%2F..%2F%3Fx"
    }


@pytest.mark.parametrize(
    "word",
    [
        "airflow-run",
        "=http://host/{}",
        "run=javascript:alert({})",
        "run=http://{}/",
        "run=http://host/",
        "run=http://[/{}",
    ],
)
def test_what_is_no_link_is_refused(word: str) -> None:
    with pytest.raises(TagLinkError) as caught:
        tag_links.read([word])
    assert word in str(caught.value)
