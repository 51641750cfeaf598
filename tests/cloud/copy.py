"""`aws s3 cp --recursive ... s3://BUCKET/PREFIX/ FOLDER/`, by boto3."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

import boto3


def main(source: str, target: Path) -> None:
    """Download all objects under a prefix."""
    place = urlsplit(source)
    prefix = place.path.lstrip("/")
    s3 = boto3.client("s3")
    for item in s3.list_objects_v2(Bucket=place.netloc, Prefix=prefix)["Contents"]:
        path = target / item["Key"].removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(place.netloc, item["Key"], str(path))


if __name__ == "__main__":
    main(sys.argv[-2], Path(sys.argv[-1]))
