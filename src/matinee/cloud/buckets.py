"""Emptying a bucket of versions, delete markers and unfinished uploads: else it stays."""

from __future__ import annotations

from botocore.exceptions import ClientError

from matinee.cloud.account import Account
from matinee.cloud.errors import AWSStackError


def empty(account: Account, bucket: str) -> int:
    """Delete all that is in a bucket; return how many versions and markers it was.

    Raises
    ------
    AWSStackError
        If something may not be deleted, with S3's reason.
    """
    s3 = account.client("s3")
    deleted = 0
    try:
        # From the front again each time, until nothing is there: however often it was broken off.
        while found := _versions(account, bucket):
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": found, "Quiet": True})
            for error in answer.get("Errors", ()):
                raise AWSStackError(
                    f"s3://{bucket}/{error['Key']} cannot be deleted: {error['Message']}"
                )
            deleted += len(found)
        for upload in account.pages("s3", "list_multipart_uploads", "Uploads", Bucket=bucket):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
    return deleted


def exists(account: Account, bucket: str) -> bool:
    """Say whether there is such a bucket."""
    try:
        account.client("s3").head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise
    return True


def _versions(account: Account, bucket: str) -> list[dict[str, str]]:
    page = account.client("s3").list_object_versions(Bucket=bucket)
    return [
        {"Key": each["Key"], "VersionId": each["VersionId"]}
        for each in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
    ]
