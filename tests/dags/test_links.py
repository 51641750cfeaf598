"""The pages that tasks link to where no console of this machine is named: AWS's."""

from __future__ import annotations

from tests.dags.conftest import Drive


def test_without_a_console_of_its_own_it_is_awss_in_the_region(drive: Drive) -> None:
    regions = ("us-east-1", "cn-north-1", "us-gov-west-1", "us-iso-east-1", "")
    america, china, government, isolated, nowhere = drive("pages", *regions)
    del america["log"], china["log"]
    assert america == {
        "training-jobs": "https://us-east-1.console.aws.amazon.com/sagemaker/home"
        "?region=us-east-1#/jobs/n",
        "endpoints": "https://us-east-1.console.aws.amazon.com/sagemaker/home"
        "?region=us-east-1#/endpoints/n",
    }
    assert china["endpoints"].startswith("https://cn-north-1.console.amazonaws.cn/sagemaker/home")
    assert government["endpoints"].startswith("https://us-gov-west-1.console.amazonaws-us-gov.com/")
    for unknown in (isolated, nowhere):
        assert (unknown["training-jobs"], unknown["endpoints"]) == (None, None)


def test_the_console_that_is_named_goes_first(drive: Drive) -> None:
    [pages] = drive(
        "pages", "us-east-1", more={"AIRFLOW__MATINEE__CONSOLE": "http://127.0.0.1:1/console/"}
    )
    assert pages["endpoints"] == "http://127.0.0.1:1/console/endpoints/n"
