"""The companion notebook's path, with the SageMaker SDKs as their users have them."""

from __future__ import annotations

from tests.contract.conftest import Scenario


def test_the_path_with_sdk_v2(scenario: Scenario) -> None:
    seen = scenario("v2")
    assert seen["model_data"].endswith("/output/model.tar.gz")
    assert set(seen["metrics"]["metric_name"]) == {"train:rmse:epoch"}
    assert seen["attached"] == "4"
    loved, hated = seen["scores"]
    assert loved > 3 > hated
    (same,) = seen["sparse"]
    assert same["score"] == loved
    assert len(seen["trials"]["TrainingJobName"]) == 2
    best = min(
        zip(seen["trials"]["FinalObjectiveValue"], seen["trials"]["TrainingJobName"], strict=True)
    )
    assert seen["best"] == best[1]
    assert seen["best_epochs"] == "300"
    assert seen["left"] == []


def test_the_path_with_sdk_v3(scenario: Scenario) -> None:
    seen = scenario("v3")
    assert (seen["status"], seen["transform"]) == ("Completed", "Completed")
    assert seen["metrics"]["test:rmse"] < 0.5
    (loved,) = seen["scores"]
    assert loved > 3
    assert len(seen["trials"]) == 2
    assert seen["best"] in seen["trials"]
    assert seen["left"] == []
