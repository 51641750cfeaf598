"""What AWS bills of a stack that does nothing, by the month, and what it bills by use.

No price is known here: they differ by region and change. Who has a price list gets its product with
the amounts. A resource of a type that is not judged here is told, never left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from matinee.cloud.errors import CloudError
from matinee.cloud.template import Template, resolved

HOURS: Final = 730.0  # of a month, as AWS's calculator has it
PRICE_PAGES: Final = "https://calculator.aws, or the price list of each service"
UNITS: Final = {"per_hour": "hours", "per_gib_month": "GiB", "per_month": "pieces"}

_Properties = Mapping[str, Any]


class Item(NamedTuple):
    """So much of something, each month.

    Parameters
    ----------
    what
        Its name in a price list.
    unit
        Of `UNITS`.
    amount
        In that unit, a month.
    """

    what: str
    unit: str
    amount: float


class Bill(NamedTuple):
    """The items of a month, what comes on top by use, and the types that are not judged."""

    items: list[Item]
    by_use: list[str]
    unknown: list[str]


class Prices(NamedTuple):
    """A user's price list: when, what currency, whose; prices by unit and name."""

    date: str
    currency: str
    source: str
    prices: Mapping[str, Mapping[str, float]]

    def of(self, item: Item) -> float | None:
        """Return what an item costs a month; None if it has no price."""
        price = self.prices.get(item.unit, {}).get(item.what)
        return None if price is None else price * item.amount


def _launch_template(properties: _Properties, values: Mapping[str, str]) -> list[Item]:
    data = properties["LaunchTemplateData"]
    items = [Item(resolved(data["InstanceType"], values), "per_hour", HOURS)]
    items += [
        Item(each["Ebs"]["VolumeType"], "per_gib_month", float(each["Ebs"]["VolumeSize"]))
        for each in data["BlockDeviceMappings"]
    ]
    if any(each.get("AssociatePublicIpAddress") for each in data["NetworkInterfaces"]):
        items.append(Item("public-ipv4", "per_hour", HOURS))
    return items


def _database(properties: _Properties, values: Mapping[str, str]) -> list[Item]:
    return [
        Item(resolved(properties["DBInstanceClass"], values), "per_hour", HOURS),
        Item(
            f"rds-{properties['StorageType']}",
            "per_gib_month",
            float(properties["AllocatedStorage"]),
        ),
    ]


def _balancer(properties: _Properties, _: Mapping[str, str]) -> list[Item]:
    return [
        Item("load-balancer", "per_hour", HOURS),
        Item("public-ipv4", "per_hour", HOURS * len(properties["Subnets"])),
    ]


def _environment(properties: _Properties, values: Mapping[str, str]) -> list[Item]:
    return [Item(resolved(properties["EnvironmentClass"], values), "per_hour", HOURS)]


def _one(what: str, unit: str) -> Callable[[_Properties, Mapping[str, str]], list[Item]]:
    amount = HOURS if unit == "per_hour" else 1.0
    return lambda _properties, _values: [Item(what, unit, amount)]


_BILLED: dict[str, Callable[[_Properties, Mapping[str, str]], list[Item]]] = {
    "AWS::CloudWatch::Alarm": _one("alarm", "per_month"),
    "AWS::EC2::EIP": _one("public-ipv4", "per_hour"),
    "AWS::EC2::LaunchTemplate": _launch_template,
    "AWS::EC2::NatGateway": _one("nat-gateway", "per_hour"),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": _balancer,
    "AWS::KMS::Key": _one("kms-key", "per_month"),
    "AWS::MWAA::Environment": _environment,
    "AWS::RDS::DBInstance": _database,
    "AWS::SecretsManager::Secret": _one("secret", "per_month"),
}
_BY_USE = {
    "AWS::Athena::WorkGroup": "Athena: what queries scan",
    "AWS::EC2::NatGateway": "what goes through the NAT gateway",
    "AWS::ElasticLoadBalancingV2::LoadBalancer": "what goes through the load balancer",
    "AWS::Glue::Database": "Glue: what the catalogue holds and is asked",
    "AWS::Glue::Job": "Glue: its jobs' DPU hours",
    "AWS::Glue::Table": "Glue: what the catalogue holds and is asked",
    "AWS::Logs::LogGroup": "logs, by what is written and kept",
    "AWS::MWAA::Environment": "MWAA: workers beyond the first, its metadata, its logs",
    "AWS::S3::Bucket": "the bucket, by what lies in it and is asked of it",
    "AWS::SNS::Topic": "alarms' e-mails",
    "AWS::StepFunctions::StateMachine": "Step Functions: state transitions",
}
_ALWAYS = ("SageMaker: a run's jobs by the second, an endpoint as long as it is there",)
_FREE = {
    "AWS::AutoScaling::AutoScalingGroup", "AWS::EC2::InternetGateway", "AWS::EC2::Route",
    "AWS::EC2::RouteTable", "AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupEgress",
    "AWS::EC2::SecurityGroupIngress", "AWS::EC2::Subnet", "AWS::EC2::SubnetRouteTableAssociation",
    "AWS::EC2::VPC", "AWS::EC2::VPCEndpoint", "AWS::EC2::VPCGatewayAttachment",
    "AWS::ElasticLoadBalancingV2::Listener", "AWS::ElasticLoadBalancingV2::TargetGroup",
    "AWS::IAM::InstanceProfile", "AWS::IAM::ManagedPolicy", "AWS::IAM::Policy", "AWS::IAM::Role",
    "AWS::Logs::MetricFilter", "AWS::RDS::DBParameterGroup", "AWS::RDS::DBSubnetGroup",
    "AWS::S3::BucketPolicy",
}  # fmt: skip


def bill(template: Template, values: Mapping[str, str]) -> Bill:
    """Return what a stack with these values of all parameters is billed for."""
    amounts: dict[tuple[str, str], float] = {}
    by_use: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for resource in template.resources(values).values():
        kind = resource["Type"]
        if kind not in _BILLED and kind not in _BY_USE and not _is_free(resource):
            unknown[kind] = None
        if kind in _BY_USE:
            by_use[_BY_USE[kind]] = None
        for item in _BILLED[kind](resource["Properties"], values) if kind in _BILLED else ():
            key = item.what, item.unit
            amounts[key] = amounts.get(key, 0.0) + item.amount
    items = [Item(what, unit, amount) for (what, unit), amount in amounts.items()]
    return Bill(items, [*by_use, *_ALWAYS], list(unknown))


def _is_free(resource: Mapping[str, Any]) -> bool:
    kind = resource["Type"]
    # Endpoints of type Gateway are free, those of type Interface are not.
    is_gateway = resource.get("Properties", {}).get("VpcEndpointType", "Gateway") == "Gateway"
    return kind in _FREE and (kind != "AWS::EC2::VPCEndpoint" or is_gateway)


def read_prices(path: Path) -> Prices:
    """Read a price list: JSON with `date`, `currency`, `source` and prices by unit and name.

    Raises
    ------
    CloudError
        If it is none.
    """
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CloudError(f"{path} is no price list: {error}") from error
    known = {"date", "currency", "source", *UNITS}
    if not isinstance(document, dict) or set(document) - known:
        raise CloudError(f"{path}: a price list is a JSON object of {', '.join(sorted(known))}")
    prices = {unit: document.get(unit, {}) for unit in UNITS}
    for unit, names in prices.items():
        if not isinstance(names, dict):
            raise CloudError(f"{path}: {unit} is an object of names and prices")
        for name, price in names.items():
            if not isinstance(price, int | float) or isinstance(price, bool) or price < 0:
                raise CloudError(f"{path}: {unit}, {name}: {price!r} is no price")
    date, currency, source = (str(document.get(each, "")) for each in Prices._fields[:3])
    return Prices(date, currency, source, prices)
