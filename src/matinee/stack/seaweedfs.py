"""SeaweedFS (`weed mini`) as the stack's S3: one process, loopback only, signed requests only.

It refuses anonymous callers on every port: S3 wants signatures, and the HTTP doors of its inner
services, which would read and write any object unasked, are shut (`-disableHttp`). Its STS gives
the holder of the key pair temporary keys that may do less, which is how jobs get those of a role.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from matinee.stack.clients import client
from matinee.stack.credentials import Credentials, write_private
from matinee.stack.ports import GRPC_OFFSET
from matinee.stack.service import program

PORT_COUNT = 5  # S3, filer, volume, master, admin; each has a gRPC port 10,000 above
READY_KEY = ".matinee/ready"
# Without a limit the resident memory grows to 1.9 GB after one object of 1 GB, and stays there.
MEMORY_LIMIT = "450MiB"


@dataclass(frozen=True)
class SeaweedFS:
    """An S3 server whose objects lie in `folder`.

    Parameters
    ----------
    folder
        Its state; mode 700 when `prepare` made it.
    first_port
        The first of five consecutive ports; S3 is on this one.
    credentials
        The only identity, allowed everything.
    bucket
        A bucket that exists once the server is ready.
    """

    folder: Path
    first_port: int
    credentials: Credentials
    bucket: str

    name = "seaweedfs"
    ready_limit_s = 60.0
    stop_grace_s = 10.0

    @property
    def ports(self) -> list[int]:
        """Its five HTTP ports and their five gRPC ports."""
        http = [self.first_port + position for position in range(PORT_COUNT)]
        return http + [port + GRPC_OFFSET for port in http]

    @property
    def address(self) -> str:
        """The S3 endpoint URL."""
        return f"http://127.0.0.1:{self.first_port}"

    def prepare(self) -> None:
        """Make the data folder and write the identities and the key of temporary keys."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "data").mkdir(mode=0o700, exist_ok=True)
        identity = {
            "name": "matinee",
            "credentials": [
                {
                    "accessKey": self.credentials.access_key_id,
                    "secretKey": self.credentials.secret_access_key,
                }
            ],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        write_private(self.folder / "identities.json", json.dumps({"identities": [identity]}))
        # Made once: temporary keys outlive a restart of the server.
        if not (path := self.folder / "iam.json").exists():
            sts = {
                "issuer": "matinee",
                "signingKey": b64encode(secrets.token_bytes(32)).decode(),
                "tokenDuration": "1h",
                "maxSessionLength": "12h",
            }
            write_private(path, json.dumps({"sts": sts, "policy": {"defaultEffect": "Deny"}}))

    def command(self) -> list[str]:
        """`weed mini` with every listener on loopback and AWS's strictness about buckets."""
        s3, filer, volume, master, admin = self.ports[:PORT_COUNT]
        return [
            program("weed"),
            "mini",
            f"-dir={self.folder / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-webdav=false",
            "-admin.ui=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.port={s3}",
            f"-filer.port={filer}",
            f"-volume.port={volume}",
            f"-master.port={master}",
            f"-admin.port={admin}",
            # Its Unix sockets would otherwise stay behind in the system's temporary folder.
            "-filer.localSocket=filer.sock",
            "-s3.localSocket=s3.sock",
            f"-s3.config={self.folder / 'identities.json'}",
            f"-s3.iam.config={self.folder / 'iam.json'}",
            "-disableHttp",
            "-s3.autoCreateBucket=false",
            "-s3.allowDeleteBucketNotEmpty=false",
            f"-bucket={self.bucket}",
        ]

    def environment(self) -> dict[str, str]:
        """Bound its memory."""
        return {"GOMEMLIMIT": MEMORY_LIMIT}

    def client(self, **config: Any) -> Any:
        """Return a boto3 S3 client of this server; keywords go to `botocore.config.Config`."""
        return client("s3", self.address, self.credentials, **config)

    def waiting_for(self) -> str | None:
        """Ask by reading an object of an earlier start, and by writing it anew.

        The port opens a second before an object can be written, and writing can be possible
        seconds before the objects of earlier starts are found. An empty object would prove
        nothing: it takes no place in a volume.
        """
        s3 = self.client(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})
        place = {"Bucket": self.bucket, "Key": READY_KEY}
        try:
            with contextlib.suppress(s3.exceptions.NoSuchKey):
                s3.get_object(**place)["Body"].read()
            s3.put_object(**place, Body=b"ready")
        except ClientError as error:
            return f"its first read and written object ({error.response['Error']['Code']})"
        except BotoCoreError as error:
            return f"its first read and written object ({type(error).__name__})"
        finally:
            s3.close()
        return None
