"""The JSONPath of filters."""

from __future__ import annotations

from typing import Any

import pytest

from matinee.sagemaker.transform_jobs.json_paths import JsonPath, JsonPathError, NoMatchError

RECORD = {"id": 7, "features": [1, 2, 3], "in-ner": {"a b": {"c": 1}, "d": {"c": 2}}}
ROW = ["a", "b", "c", "d", "e", "f"]


@pytest.mark.parametrize(
    ("path", "document", "found"),
    [
        ("$", RECORD, RECORD),
        ("$.id", RECORD, 7),
        ("$['id']", RECORD, 7),
        ("$.features", RECORD, [1, 2, 3]),
        ("$.features[-1]", RECORD, 3),
        ("$['id','features']", RECORD, {"id": 7, "features": [1, 2, 3]}),
        ("$['id', 'nobody']", RECORD, {"id": 7}),
        ("$.in-ner['a b'].c", RECORD, 1),
        ("$.in-ner.['a b','d'].c", RECORD, [1, 2]),
        ("$.in-ner.*.c", RECORD, [1, 2]),
        ("$.*[0]", RECORD, [1]),
        ("$[1]", ROW, "b"),
        ("$[1,3,5]", ROW, ["b", "d", "f"]),
        ("$[ 0 , -1 ]", ROW, ["a", "f"]),
        ("$[2:5]", ROW, ["c", "d", "e"]),
        ("$[:2]", ROW, ["a", "b"]),
        ("$[4:]", ROW, ["e", "f"]),
        ("$[:-1]", ROW, ["a", "b", "c", "d", "e"]),
        ("$[0,5:]", ROW, ["a", "f"]),
        ("$[2:99]", ROW, ["c", "d", "e", "f"]),
        ("$[*]", ROW, ROW),
    ],
)
def test_paths_find(path: str, document: Any, found: Any) -> None:
    assert JsonPath(path).select(document) == found


def test_the_root_is_known() -> None:
    assert JsonPath("$").is_root
    assert not JsonPath("$[0:]").is_root


@pytest.mark.parametrize(
    ("path", "document", "said"),
    [
        ("$.nobody", RECORD, r"\$.nobody finds nothing: no attribute 'nobody'"),
        ("$[6]", ROW, r"\$\[6\] finds nothing: index 6 of 6 elements"),
        ("$[0,-7]", ROW, "index -7 of 6 elements"),
        ("$.id[0]", RECORD, "not an array"),
        ("$[0]", RECORD, "not an array"),
    ],
)
def test_what_is_not_there_is_said(path: str, document: Any, said: str) -> None:
    with pytest.raises(NoMatchError, match=said):
        JsonPath(path).select(document)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "ends too early"),
        ("id", 'Unexpected "i" in JsonPath at character 1'),
        ("$id", 'Unexpected "i" in JsonPath at character 2'),
        ("$..id", r'Unexpected "\." in JsonPath at character 3'),
        ("$.", "ends too early"),
        ("$[?(@.a)]", r'Unexpected "\?" in JsonPath at character 3'),
        ("$[1", "ends too early"),
        ("$['a", 'Unexpected "\'"'),
        ("$['a',1]", 'Unexpected "1"'),
        ("$[0:6:2]", 'Unexpected ":"'),
        ("$[0:2,246:]", r"only single range filters of format \(eg: \[1:5\]\) are supported"),
        ('$["a"]', 'Unexpected """'),
    ],
)
def test_what_is_no_path_is_refused(path: str, said: str) -> None:
    with pytest.raises(JsonPathError, match=said):
        JsonPath(path)


def test_a_row_has_no_names() -> None:
    JsonPath("$[1,-2]").refuse_names()
    with pytest.raises(JsonPathError, match='Unexpected "i" in JsonPath'):
        JsonPath("$.id").refuse_names()
