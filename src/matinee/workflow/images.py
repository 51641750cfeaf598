"""Where Amazon publishes the Factorization Machines image: one ECR account a region.

The accounts are those of the SageMaker Python SDK's `image_uris` (2.257). Refuses regions not in
the table.
"""

from __future__ import annotations

import boto3

from matinee.workflow.errors import SettingsError
from matinee.workflow.settings import Settings

ACCOUNTS = {
    "af-south-1": "455444449433",
    "ap-east-1": "286214385809",
    "ap-northeast-1": "351501993468",
    "ap-northeast-2": "835164637446",
    "ap-northeast-3": "867004704886",
    "ap-south-1": "991648021394",
    "ap-south-2": "628508329040",
    "ap-southeast-1": "475088953585",
    "ap-southeast-2": "712309505854",
    "ap-southeast-3": "951798379941",
    "ap-southeast-4": "106583098589",
    "ca-central-1": "469771592824",
    "ca-west-1": "190319476487",
    "cn-north-1": "390948362332",
    "cn-northwest-1": "387376663083",
    "eu-central-1": "664544806723",
    "eu-central-2": "680994064768",
    "eu-north-1": "669576153137",
    "eu-south-1": "257386234256",
    "eu-south-2": "104374241257",
    "eu-west-1": "438346466558",
    "eu-west-2": "644912444149",
    "eu-west-3": "749696950732",
    "il-central-1": "898809789911",
    "me-central-1": "272398656194",
    "me-south-1": "249704162688",
    "sa-east-1": "855470959533",
    "us-east-1": "382416733822",
    "us-east-2": "404615174143",
    "us-gov-east-1": "237065988967",
    "us-gov-west-1": "226302683700",
    "us-iso-east-1": "490574956308",
    "us-isob-east-1": "765400339828",
    "us-isof-east-1": "108575199400",
    "us-isof-south-1": "124985052026",
    "us-west-1": "632365934929",
    "us-west-2": "174872318107",
}

# Regions of AWS's other partitions have other domains, as botocore's partitions.json has them.
_DOMAINS = {
    "cn-": "amazonaws.com.cn",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
}


def factorization_machines(region: str | None) -> str:
    """Return the URI of the built-in algorithm's image.

    Parameters
    ----------
    region : str or None
        AWS region name; None where a client's configuration names none.

    Raises
    ------
    SettingsError
        If the region is missing, or the algorithm is not published there.
    """
    if region is None:
        raise SettingsError("no AWS region is configured: set AWS_DEFAULT_REGION")
    account = ACCOUNTS.get(region)
    if account is None:
        raise SettingsError(
            f"Factorization Machines is not published in region {region!r};"
            f" it is in {', '.join(ACCOUNTS)}"
        )
    domain = next(
        (domain for start, domain in _DOMAINS.items() if region.startswith(start)), "amazonaws.com"
    )
    return f"{account}.dkr.ecr.{region}.{domain}/factorization-machines:1"


def image_of(settings: Settings) -> str:
    """Return the URI of a run's image: its own, or the algorithm's in the AWS clients' region.

    Raises
    ------
    SettingsError
        As of `factorization_machines`.
    """
    return settings.image or factorization_machines(boto3.session.Session().region_name)
