"""AWS Signature Version 4: is this request from a holder of our keys, unchanged and fresh?

The keys are the server's own pair, or the temporary ones of a role's session, which come with their
token. The signature of the Authorization header is calculated again with the secret key and
compared in constant time; the canonical form is botocore's own. Refused: unsigned requests,
signatures in the query string, other algorithms, a Host or x-amz header outside the signature, a
body that is not the one signed, times more than five minutes off. Source: "AWS Signature Version 4
for API requests", IAM User Guide.
"""

from __future__ import annotations

import functools
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
    ExpiredToken,
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


_STAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
# A target that is the same in its canonical form: no query, nothing to encode, no dots to resolve.
_PLAIN_PATH = re.compile(r"/(?:[A-Za-z0-9_~-]+(?:/[A-Za-z0-9_~-]+)*)?")


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
class Caller:
    """Who sent a request: the account's root, or a session of a role.

    Attributes
    ----------
    role
        The role's ARN; empty for the root.
    session
        The session's name; empty for the root.
    """

    role: str = ""
    session: str = ""


ROOT = Caller()


@dataclass(frozen=True, slots=True, repr=False)
class TemporaryKeys:
    """What is needed to check what a session signs; no repr, so that it gets into no log.

    Attributes
    ----------
    secret_access_key
        The secret.
    token_hash
        SHA-256 of the session token, in hex.
    expires
        When the keys end.
    caller
        Whose they are.
    """

    secret_access_key: str
    token_hash: str
    expires: datetime
    caller: Caller


@dataclass(frozen=True, slots=True)
class Scope:
    """For whom a request was signed, the region and the service's signing name, and by whom."""

    region: str
    service: str
    caller: Caller = ROOT


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
    """Checks requests against the server's keys and those of sessions.

    Parameters
    ----------
    access_key_id, secret_access_key
        The server's own pair.
    clock
        The present as an aware datetime.
    temporary
        Finds a session's keys by their id.
    """

    def __init__(
        self,
        access_key_id: str,
        secret_access_key: str,
        clock: Callable[[], datetime],
        temporary: Callable[[str], TemporaryKeys | None] = lambda _: None,
    ) -> None:
        self._access_key_id = access_key_id
        self._credentials = Credentials(access_key_id, secret_access_key)
        self._clock = clock
        self._temporary = temporary

    def verify(self, request: ReceivedRequest) -> Scope:
        """Check the signature and return what the request was signed for.

        Raises
        ------
        MissingAuthenticationToken, IncompleteSignature, UnknownAccessKey, ExpiredToken, \
InvalidSignature
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
        credentials, caller = self._keys(parts["key"], request)
        signed = frozenset(parts["headers"].split(";"))
        _check_headers(request, signed)
        moment = self._check_time(request, parts["date"])
        _check_body(request)
        scope = Scope(parts["region"], parts["service"], caller)
        expected = _signature(request, credentials, scope, signed, moment)
        if not hmac.compare_digest(parts["signature"], expected):
            raise InvalidSignature(
                "The request signature we calculated does not match the signature you provided. "
                "Check your AWS Secret Access Key and signing method."
            )
        return scope

    def _keys(self, key_id: str, request: ReceivedRequest) -> tuple[Credentials, Caller]:
        """Return the keys with this id, if the request has their token, and whose they are."""
        token = request.header("x-amz-security-token")
        if hmac.compare_digest(key_id.encode(), self._access_key_id.encode()):
            if token is not None:
                raise UnknownAccessKey("The security token included in the request is invalid.")
            return self._credentials, ROOT
        keys = self._temporary(key_id)
        token_hash = hashlib.sha256((token or "").encode()).hexdigest()
        if keys is None or not hmac.compare_digest(token_hash, keys.token_hash):
            raise UnknownAccessKey("The security token included in the request is invalid.")
        if keys.expires <= self._clock():
            raise ExpiredToken("The security token included in the request is expired")
        return Credentials(key_id, keys.secret_access_key), keys.caller

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
    request: ReceivedRequest,
    credentials: Credentials,
    scope: Scope,
    signed: frozenset[str],
    moment: datetime,
) -> str:
    stamp = moment.strftime(SIGV4_TIMESTAMP)
    if _PLAIN_PATH.fullmatch(request.target):
        # As nearly all requests are; a third of the time of the way below.
        return _signature_of_plain(request, credentials, scope, signed, stamp)
    replica = AWSRequest(
        method=request.method,
        url=f"http://{request.header('host')}{request.target}",
        data=request.body,
    )
    for name, value in request.headers:
        replica.headers[name] = value
    replica.context["timestamp"] = stamp
    signer = _ReceivedSignature(credentials, scope, signed)
    text = signer.string_to_sign(replica, signer.canonical_request(replica))
    signature: str = signer.signature(text, replica)
    return signature


def _signature_of_plain(
    request: ReceivedRequest,
    credentials: Credentials,
    scope: Scope,
    signed: frozenset[str],
    stamp: str,
) -> str:
    """Return the signature of a request whose path is its own canonical form."""
    names = sorted(signed)
    # Each is there once.
    values = {name.lower(): " ".join(value.split()) for name, value in request.headers}
    headers = "".join(f"{name}:{values[name]}\n" for name in names)
    body = hashlib.sha256(request.body).hexdigest()
    canonical = (
        f"{request.method.upper()}\n{request.target}\n\n{headers}\n{';'.join(names)}\n{body}"
    )
    day = stamp[:8]
    text = (
        f"AWS4-HMAC-SHA256\n{stamp}\n{day}/{scope.region}/{scope.service}/aws4_request\n"
        f"{hashlib.sha256(canonical.encode()).hexdigest()}"
    )
    key = _signing_key(credentials.secret_key, day, scope.region, scope.service)
    return hmac.digest(key, text.encode(), "sha256").hex()


@functools.lru_cache(maxsize=64)
def _signing_key(secret_key: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for word in (day, region, service, "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    return key


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
            if not _STAMP.fullmatch(stamp):
                raise ValueError(stamp)
            return datetime.fromisoformat(stamp)
        if date is not None:
            return parsedate_to_datetime(date).astimezone(UTC)
    except (ValueError, OverflowError) as error:
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
