"""AWS Signature Version 4: is this request from the holder of our keys, unchanged and fresh?

The signature of the Authorization header is calculated again with the secret key and compared in
constant time; the canonical form is botocore's own. Refused: unsigned requests, signatures in the
query string, other algorithms, a Host or x-amz header outside the signature, a body that is not
the one signed, times more than five minutes off. Source: "AWS Signature Version 4 for API
requests", IAM User Guide.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from matinee.sagemaker.errors import (
    IncompleteSignature,
    InvalidSignature,
    MissingAuthenticationToken,
    UnknownAccessKey,
)

MAX_CLOCK_SKEW = timedelta(minutes=5)

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=(?P<key>[^/, ]+)/(?P<date>\d{8})/(?P<region>[^/, ]+)"
    r"/(?P<service>[^/, ]+)/aws4_request, *SignedHeaders=(?P<headers>[a-z0-9;._-]+)"
    r", *Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """An HTTP request as it came over the wire.

    Attributes
    ----------
    method
        The HTTP method.
    target
        Path and query string as sent, still percent-encoded.
    headers
        Pairs of name and value in the order received.
    body
        All of the body.
    """

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None."""
        return next((v for k, v in self.headers if k.lower() == name), None)


@dataclass(frozen=True, slots=True)
class Scope:
    """For whom a request was signed: the region and the service's signing name."""

    region: str
    service: str


class _ReceivedSignature(SigV4Auth):  # type: ignore[misc]  # botocore is untyped
    """botocore's signer, told which headers the caller had signed."""

    def __init__(self, credentials: Credentials, scope: Scope, signed: frozenset[str]) -> None:
        super().__init__(credentials, scope.service, scope.region)
        self._signed = signed

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        chosen = HTTPHeaders()
        for name, value in request.headers.items():
            if name.lower() in self._signed:
                chosen[name.lower()] = value
        return chosen


class SignatureVerifier:
    """Checks requests against one pair of keys.

    Parameters
    ----------
    access_key_id, secret_access_key
        The keys callers must use.
    clock
        The present as an aware datetime.
    """

    def __init__(
        self, access_key_id: str, secret_access_key: str, clock: Callable[[], datetime]
    ) -> None:
        self._access_key_id = access_key_id
        self._credentials = Credentials(access_key_id, secret_access_key)
        self._clock = clock

    def verify(self, request: ReceivedRequest) -> Scope:
        """Check the signature and return what the request was signed for.

        Raises
        ------
        MissingAuthenticationToken, IncompleteSignature, UnknownAccessKey, InvalidSignature
            The request is not to be trusted; the message names the rule.
        """
        authorization = request.header("authorization")
        if authorization is None:
            raise MissingAuthenticationToken("Missing Authentication Token")
        parts = _AUTHORIZATION.fullmatch(authorization)
        if parts is None:
            raise IncompleteSignature(
                "Authorization header must be 'AWS4-HMAC-SHA256 Credential=<access key id>/<date>/"
                "<region>/<service>/aws4_request, SignedHeaders=<names>, Signature=<64 hex digits>'"
            )
        if not hmac.compare_digest(parts["key"].encode(), self._access_key_id.encode()):
            raise UnknownAccessKey("The security token included in the request is invalid.")
        signed = frozenset(parts["headers"].split(";"))
        _check_headers(request, signed)
        moment = self._check_time(request, parts["date"])
        _check_body(request)
        scope = Scope(region=parts["region"], service=parts["service"])
        expected = self._signature(request, scope, signed, moment)
        if not hmac.compare_digest(parts["signature"], expected):
            raise InvalidSignature(
                "The request signature we calculated does not match the signature you provided. "
                "Check your AWS Secret Access Key and signing method."
            )
        return scope

    def _check_time(self, request: ReceivedRequest, date: str) -> datetime:
        moment = _signing_time(request)
        if moment.strftime("%Y%m%d") != date:
            raise IncompleteSignature(f"Credential date {date} is not the day of {moment}")
        now = self._clock()
        if moment < now - MAX_CLOCK_SKEW:
            raise InvalidSignature(f"Signature expired: {moment} is over 5 min. before {now}")
        if moment > now + MAX_CLOCK_SKEW:
            raise InvalidSignature(
                f"Signature not yet current: {moment} is over 5 min. after {now}"
            )
        return moment

    def _signature(
        self, request: ReceivedRequest, scope: Scope, signed: frozenset[str], moment: datetime
    ) -> str:
        replica = AWSRequest(
            method=request.method,
            url=f"http://{request.header('host')}{request.target}",
            data=request.body,
        )
        for name, value in request.headers:
            replica.headers[name] = value
        replica.context["timestamp"] = moment.strftime(SIGV4_TIMESTAMP)
        signer = _ReceivedSignature(self._credentials, scope, signed)
        text = signer.string_to_sign(replica, signer.canonical_request(replica))
        signature: str = signer.signature(text, replica)
        return signature


def _check_headers(request: ReceivedRequest, signed: frozenset[str]) -> None:
    names = Counter(name.lower() for name, _ in request.headers)
    # An x-amz header says what is to be done (X-Amz-Target); left unsigned, a recorded signature
    # could be used for something else.
    needed = {"host"} | {name for name in names if name.startswith("x-amz-")}
    if missing := sorted(needed - signed):
        raise IncompleteSignature(f"SignedHeaders must include {', '.join(missing)}")
    if absent := sorted(signed - names.keys()):
        raise IncompleteSignature(f"SignedHeaders names absent headers: {', '.join(absent)}")
    if twice := sorted(n for n in signed | {"authorization"} if names[n] > 1):
        raise IncompleteSignature(f"headers given more than once: {', '.join(twice)}")


def _signing_time(request: ReceivedRequest) -> datetime:
    stamp, date = request.header("x-amz-date"), request.header("date")
    try:
        if stamp is not None:
            return datetime.strptime(stamp, SIGV4_TIMESTAMP).replace(tzinfo=UTC)
        if date is not None:
            return parsedate_to_datetime(date).astimezone(UTC)
    except ValueError as error:
        raise IncompleteSignature(f"cannot read the time {stamp or date!r}") from error
    raise IncompleteSignature("the request must have an X-Amz-Date or a Date header")


def _check_body(request: ReceivedRequest) -> None:
    claimed = request.header("x-amz-content-sha256")
    if claimed is None:
        return
    actual = hashlib.sha256(request.body).hexdigest()
    if not hmac.compare_digest(claimed.encode(), actual.encode()):
        raise InvalidSignature(
            f"x-amz-content-sha256 {claimed!r} is not the SHA-256 of the body; unsigned payloads "
            "are refused"
        )
