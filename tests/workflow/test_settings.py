"""Settings: presets fill nulls, contradictions are refused, a run has one name and folder."""

from __future__ import annotations

from typing import Any

import pytest

from matinee.workflow.errors import SettingsError
from matinee.workflow.hyperparameters import PRESETS
from matinee.workflow.settings import Settings, run_name


def test_nothing_given_is_the_default_preset() -> None:
    settings = Settings.from_parameters({})
    preset = PRESETS["default"]
    assert settings.hyperparameters["factors_lr"] == preset["factors_lr"]
    assert settings.tuning_ranges == preset["tuning_ranges"]
    assert "clip_gradient" not in settings.hyperparameters


def test_a_value_of_ones_own_goes_before_the_preset() -> None:
    settings = Settings.from_parameters({"preset": "original", "epochs": 3, "factors_lr": None})
    assert settings.hyperparameters == {"num_factors": 64, "epochs": 3, "mini_batch_size": 200}
    assert settings.training_instance_type == "ml.c5.4xlarge"


def test_settings_survive_the_way_through_parameters() -> None:
    settings = Settings.from_parameters({"preset": "original", "bias_wd": 0.5, "seed": 7})
    assert Settings.from_parameters(settings.to_parameters()) == settings


def test_the_bayesian_preset_is_for_matinees_own_algorithm() -> None:
    settings = Settings.from_parameters({"preset": "bayesian", "num_factors": 4})
    assert settings.image == "matinee-fm"
    assert settings.hyperparameters == {
        "num_factors": 4, "epochs": 300, "solver": "mcmc", "burn_in": 20
    }  # fmt: skip


def test_a_zero_is_a_value_and_not_the_presets() -> None:
    assert Settings.from_parameters({"factors_wd": 0}).hyperparameters["factors_wd"] == 0


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"until": "2015-02-30"}, "until '2015-02-30' is no date: day is out of range"),
        ({"train_fraction": 0.7}, "are 0.7, 0.2 and 0.2: they must add up to 1"),
        ({"ratings": "s3://abc/x", "output": "s3://abc/x/runs"}, "lies under ratings 's3://abc/x'"),
        ({"ratings": "s3://abc/x/", "output": "s3://abc/x"}, "lies under ratings"),
        ({"tuning_jobs": 2, "tuning_parallel_jobs": 3}, "3 is more than tuning_jobs 2"),
        (
            {"columns": {"customer": "a", "video": "a", "stars": "b"}},
            "one column cannot hold two things",
        ),
        ({"tuning_ranges": {"epochs": [5, 5]}}, "smallest 5 must be below largest 5"),
        ({"tuning_ranges": {"epochs": [1.5, 5]}}, "1.5 and 5 must be whole numbers"),
        ({"tuning_ranges": {"epochs": [0, 5]}}, "0 is less than the minimum of 1"),
        ({"tuning_ranges": {"bias_wd": [-1, 5]}}, "-1 is less than the minimum of 0"),
        ({"tuning_ranges": {"bias_wd": [0, 5, "Logarithmic"]}}, "above 0, not 0"),
        ({"tuning_ranges": {"bias_wd": [0, 1, "ReverseLogarithmic"]}}, "not 0 and 1"),
        ({"solver": "mcmc"}, "solver needs an image of matinee-fm"),
        (
            {"preset": "bayesian", "training_instance_count": 2},
            "training_instance_count 2: the solver mcmc trains on one instance, only adam on",
        ),
        # What matinee-fm takes for a solver that nobody sets.
        ({"image": "1.dkr.ecr/matinee-fm:2", "training_instance_count": 2}, "the solver mcmc"),
        ({"image": "matinee-fm", "solver": "sgd", "training_instance_count": 3}, "solver sgd"),
        ({"tuning_ranges": {"num_factors": [4, 8]}}, "'num_factors'] needs an image of matinee-fm"),
        ({"side_columns": ["time"], "features": ["day"]}, "'time' is a column that the ratings"),
        ({"tune": True, "configurations": [{"epochs": 1}]}, "a run does one of both"),
        (
            {"configurations": [{"epochs": 1}, {"solver": "sgd"}]},
            "configurations[1]: solver needs an image of matinee-fm",
        ),
        (
            {
                "preset": "bayesian",
                "training_instance_count": 2,
                "configurations": [{"solver": "adam"}, {"epochs": 9}],
            },
            "configurations[1]: training_instance_count 2: the solver mcmc trains on one",
        ),
        ({"ensemble_size": 2}, "ensemble_size 2 is more than the 1 models that the run trains"),
        ({"ensemble_size": 9, "tune": True}, "ensemble_size 9 is more than the 8 models"),
        (
            {"ensemble_size": 3, "configurations": [{"epochs": 1}] * 2},
            "ensemble_size 3 is more than the 2 models",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(values: dict[str, Any], rule: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_parameters(values)
    assert rule in str(refusal.value)


def test_adam_trains_on_several_instances() -> None:
    for values in ({}, {"image": "matinee-fm", "solver": "adam"}, {"image": "my/own-fm"}):
        settings = Settings.from_parameters({"training_instance_count": 20, **values})
        assert settings.training_instance_count == 20


def test_output_beside_the_ratings_is_fine() -> None:
    settings = Settings.from_parameters({"ratings": "s3://abc/x", "output": "s3://abc/xy/"})
    assert settings.folder("matinee-1") == "s3://abc/xy/matinee-1"


def test_a_run_is_named_after_its_id() -> None:
    # printf 'manual__1' | sha256sum
    assert run_name("manual__1") == "matinee-19b04f5690"
    assert run_name("manual__2") != run_name("manual__1")


def test_tasks_of_airflow_read_no_files_of_their_machine() -> None:
    settings = Settings.from_parameters({"ratings": "/etc/ratings.tsv"})
    with pytest.raises(SettingsError, match=r"'/etc/ratings.tsv' is a file: .* s3:// alone"):
        settings.refuse_local_files()
    Settings.from_parameters({}).refuse_local_files()


def test_side_columns_are_not_what_the_ratings_have_already() -> None:
    with pytest.raises(SettingsError, match="'stars' is a column that the ratings have already"):
        Settings.from_parameters({"side_columns": ["vine", "stars"]})


def test_columns_of_features_are_kept() -> None:
    settings = Settings.from_parameters(
        {"features": ["video:genre", "customer:age"], "side_columns": ["age"]}
    )
    assert settings.side_columns == ["age", "genre"]
    assert Settings.from_parameters(settings.to_parameters()) == settings
    assert not settings.is_timed
    assert Settings.from_parameters({"features": ["month"]}).is_timed


def test_a_configuration_goes_over_the_runs_hyperparameters() -> None:
    settings = Settings.from_parameters(
        {
            "preset": "bayesian",
            "num_factors": 5,
            "configurations": [
                {"num_factors": 7},
                {"solver": "sgd", "burn_in": None, "epochs": 3.0},
            ],
        }
    )
    assert dict(settings.configured(0).hyperparameters) == {
        "solver": "mcmc",
        "num_factors": 7,
        "epochs": 300,
        "burn_in": 20,
    }
    assert str(settings.configured(1).hyperparameters["epochs"]) == "3"
    assert "burn_in" not in settings.configured(1).hyperparameters
    assert settings.is_bayesian
    assert not settings.configured(1).is_bayesian
    assert Settings.from_parameters(settings.to_parameters()) == settings
