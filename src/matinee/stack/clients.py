"""boto3 clients of the local servers, untouched by the user's own AWS settings.

A profile, a configuration file or a proxy meant for AWS must not lead a local client astray.
"""

from __future__ import annotations

import os
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from matinee.stack.credentials import Credentials
from matinee.stack.service import REGION

# botocore's own form: configuration key, environment variable, default, conversion.
_NOBODYS_SETTINGS = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


def client(service: str, endpoint: str, credentials: Credentials, **config: Any) -> Any:
    """Return a boto3 client of a local server.

    Parameters
    ----------
    service
        boto3's name of it, `s3` or `sagemaker`.
    endpoint
        Its URL.
    credentials
        The key pair to sign with.
    **config
        More for `botocore.config.Config`.
    """
    session = boto3.Session(
        botocore_session=botocore.session.Session(session_vars=_NOBODYS_SETTINGS),
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        region_name=REGION,
    )
    local = Config(proxies={}, s3={"addressing_style": "path"}, **config)
    return session.client(service, endpoint_url=endpoint, config=local)
