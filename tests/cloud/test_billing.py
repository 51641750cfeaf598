"""What a stack is billed for, and the user's own prices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from matinee.cloud.billing import HOURS, Item, bill, read_prices
from matinee.cloud.errors import CloudError
from matinee.cloud.template import Kind, Template


def amounts(kind: Kind, **chosen: str) -> dict[str, float]:
    template = Template.of(kind)
    found = bill(template, template.values({"CodeVersion": "1", **chosen}))
    return {item.what: item.amount for item in found.items}


def test_an_instance_its_database_and_the_rest() -> None:
    assert amounts(Kind.EC2, InstanceType="t4g.xlarge") == {
        "t4g.xlarge": HOURS, "gp3": 30, "public-ipv4": HOURS, "db.t4g.micro": HOURS, "rds-gp3": 20,
        "secret": 3, "alarm": 4,
    }  # fmt: skip


def test_a_balancer_has_two_addresses_of_its_own() -> None:
    found = amounts(Kind.EC2, AllowedCidr="203.0.113.0/24")
    assert found["load-balancer"] == HOURS
    assert found["public-ipv4"] == 3 * HOURS


def test_mwaa() -> None:
    assert amounts(Kind.MWAA) == {
        "mw1.small": HOURS, "nat-gateway": HOURS, "public-ipv4": HOURS, "alarm": 2,
    }  # fmt: skip


@pytest.mark.parametrize("kind", list(Kind))
def test_every_type_of_the_templates_is_judged(kind: Kind) -> None:
    template = Template.of(kind)
    everything = {
        name: {key: each for key, each in resource.items() if key != "Condition"}
        for name, resource in template.body["Resources"].items()
    }
    whole = Template(json.dumps({**template.body, "Resources": everything}))
    assert bill(whole, whole.values({})).unknown == []


def test_what_is_not_judged_is_told() -> None:
    body = {
        "Parameters": {},
        "Resources": {
            "Q": {"Type": "AWS::SQS::Queue"},
            "E": {"Type": "AWS::EC2::VPCEndpoint", "Properties": {"VpcEndpointType": "Interface"}},
        },
    }
    found = bill(Template(json.dumps(body)), {})
    assert found.items == []
    assert found.unknown == ["AWS::SQS::Queue", "AWS::EC2::VPCEndpoint"]


def test_prices_are_the_user_s(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text('{"date": "2026-01-31", "currency": "USD", "per_hour": {"t4g.large": 2}}')
    prices = read_prices(path)
    assert prices[:3] == ("2026-01-31", "USD", "")
    assert prices.of(Item("t4g.large", "per_hour", 730.0)) == 1460
    assert prices.of(Item("t4g.large", "per_month", 1.0)) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is no price list"),
        ('{"hourly": {}}', "a price list is a JSON object of currency, date, per_gib_month"),
        ('{"per_hour": 2}', "per_hour is an object of names and prices"),
        ('{"per_hour": {"t4g.large": "2"}}', "per_hour, t4g.large: '2' is no price"),
        ('{"per_month": {"secret": -1}}', "per_month, secret: -1 is no price"),
    ],
)
def test_what_is_no_price_list_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "prices.json").write_text(text)
    with pytest.raises(CloudError, match=problem):
        read_prices(tmp_path / "prices.json")
