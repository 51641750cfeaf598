"""The built-in algorithm's image in every region."""

from __future__ import annotations

import re

import pytest

from matinee.workflow.errors import SettingsError
from matinee.workflow.images import ACCOUNTS, factorization_machines


@pytest.mark.parametrize(
    ("region", "image"),
    [
        ("us-east-1", "382416733822.dkr.ecr.us-east-1.amazonaws.com/factorization-machines:1"),
        ("cn-north-1", "390948362332.dkr.ecr.cn-north-1.amazonaws.com.cn/factorization-machines:1"),
        ("us-iso-east-1", "490574956308.dkr.ecr.us-iso-east-1.c2s.ic.gov/factorization-machines:1"),
        (
            "us-isob-east-1",
            "765400339828.dkr.ecr.us-isob-east-1.sc2s.sgov.gov/factorization-machines:1",
        ),
        (
            "us-gov-west-1",
            "226302683700.dkr.ecr.us-gov-west-1.amazonaws.com/factorization-machines:1",
        ),
    ],
)
def test_the_image_of_a_region(region: str, image: str) -> None:
    assert factorization_machines(region) == image


def test_every_account_is_one() -> None:
    assert all(re.fullmatch(r"\d{12}", account) for account in ACCOUNTS.values())


def test_no_region_and_an_unknown_one_are_refused() -> None:
    with pytest.raises(SettingsError, match="set AWS_DEFAULT_REGION"):
        factorization_machines(None)
    with pytest.raises(SettingsError, match="not published in region 'mars-1'; it is in af-south"):
        factorization_machines("mars-1")
