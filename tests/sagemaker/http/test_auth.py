"""Signature Version 4 as a verifier: AWS's own vectors, and botocore's signatures tampered with."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from matinee.sagemaker.errors import (
    ExpiredToken,
    IncompleteSignature,
    InvalidSignature,
    MissingAuthenticationToken,
    UnknownAccessKey,
)
from matinee.sagemaker.http.auth import (
    ROOT,
    Caller,
    ReceivedRequest,
    Scope,
    SignatureVerifier,
    TemporaryKeys,
)

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HOST = "127.0.0.1:8888"
BODY = b'{"TrainingJobName": "a"}'


def now() -> datetime:
    return datetime.now(UTC)


VERIFIER = SignatureVerifier(KEY, SECRET, now)


def signed(
    *, key: str = KEY, secret: str = SECRET, body: bytes = BODY, target: str = "/", **headers: str
) -> ReceivedRequest:
    """Sign a request as boto does."""
    given = {"X-Amz-Target": "SageMaker.DescribeTrainingJob", "Host": HOST}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest("POST", f"http://{HOST}{target}", data=body, headers=given)
    SigV4Auth(Credentials(key, secret), "sagemaker", "us-east-1").add_auth(request)
    return ReceivedRequest("POST", target, list(request.headers.items()), body)


def with_header(request: ReceivedRequest, name: str, value: str | None) -> ReceivedRequest:
    """Replace a header after signing; None removes it."""
    kept = [(k, v) for k, v in request.headers if k.lower() != name]
    return dataclasses.replace(request, headers=kept if value is None else [*kept, (name, value)])


# From the Signature Version 4 test suite that AWS published with its documentation.
AT = datetime(2015, 8, 30, 12, 36, 0, tzinfo=UTC)
FORM = ("content-type", "application/x-www-form-urlencoded")


@pytest.mark.parametrize(
    ("method", "target", "header", "body", "signature"),
    [
        (
            "GET", "/", None, b"",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "POST", "/", None, b"",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            "GET", "/?Param2=value2&Param1=value1", None, b"",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "POST", "/", FORM, b"Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ],
    ids=["get-vanilla", "post-vanilla", "get-vanilla-query-order-key-case", "post-form"],
)  # fmt: skip
def test_the_published_vectors_verify(
    method: str, target: str, header: tuple[str, str] | None, body: bytes, signature: str
) -> None:
    headers = [("Host", "example.amazonaws.com"), ("X-Amz-Date", "20150830T123600Z")]
    names = "host;x-amz-date"
    if header is not None:
        headers.append(header)
        names = f"content-type;{names}"
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    request = ReceivedRequest(method, target, [*headers, ("Authorization", authorization)], body)
    verifier = SignatureVerifier(KEY, SECRET, lambda: AT)
    assert verifier.verify(request) == Scope("us-east-1", "service")


@pytest.mark.parametrize("target", ["/", "/a%20b/../c?x=1&a=%2F", "/endpoints/e/invocations"])
def test_what_boto_signs_is_accepted(target: str) -> None:
    body_hash = hashlib.sha256(BODY).hexdigest()
    request = signed(target=target, X_Amz_Content_SHA256=body_hash, Content_Type="a/b  c")
    assert VERIFIER.verify(request) == Scope("us-east-1", "sagemaker")


@pytest.mark.parametrize(
    "tamper",
    [
        lambda request: dataclasses.replace(request, body=BODY + b" "),
        lambda request: dataclasses.replace(request, method="PUT"),
        lambda request: dataclasses.replace(request, target="/other"),
        lambda request: dataclasses.replace(request, target="/?a=1"),
        lambda request: with_header(request, "x-amz-target", "SageMaker.DeleteModel"),
        lambda request: with_header(request, "host", "localhost:8888"),
        lambda request: with_header(
            request,
            "authorization",
            (request.header("authorization") or "").replace("/sagemaker/", "/iam/"),
        ),
    ],
    ids=["body", "method", "path", "query", "operation", "host", "service"],
)
def test_a_changed_request_is_refused(
    tamper: Callable[[ReceivedRequest], ReceivedRequest],
) -> None:
    request = signed()
    VERIFIER.verify(request)
    with pytest.raises(InvalidSignature, match="does not match the signature you provided"):
        VERIFIER.verify(tamper(request))


def test_a_wrong_secret_is_refused() -> None:
    with pytest.raises(InvalidSignature, match="Check your AWS Secret Access Key"):
        VERIFIER.verify(signed(secret="other"))


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(UnknownAccessKey, match="security token"):
        VERIFIER.verify(signed(key="AKIDOTHER"))


TOKEN = "token"
CALLER = Caller(role="arn:aws:iam::000000000000:role/a", session="me")


def session_verifier(expires: datetime) -> SignatureVerifier:
    token_hash = hashlib.sha256(TOKEN.encode()).hexdigest()
    keys = {"ASIAEXAMPLE": TemporaryKeys("other", token_hash, expires, CALLER)}
    return SignatureVerifier(KEY, SECRET, now, keys.get)


def test_a_session_is_its_caller() -> None:
    request = signed(key="ASIAEXAMPLE", secret="other", X_Amz_Security_Token=TOKEN)
    verifier = session_verifier(now() + timedelta(minutes=1))
    assert verifier.verify(request) == Scope("us-east-1", "sagemaker", CALLER)
    assert verifier.verify(signed()).caller == ROOT


def test_a_session_ends() -> None:
    request = signed(key="ASIAEXAMPLE", secret="other", X_Amz_Security_Token=TOKEN)
    with pytest.raises(ExpiredToken, match="is expired"):
        session_verifier(now()).verify(request)


@pytest.mark.parametrize(
    ("key", "headers"),
    [
        ("ASIAEXAMPLE", {}),
        ("ASIAEXAMPLE", {"X_Amz_Security_Token": "x"}),
        ("ASIAOTHER", {"X_Amz_Security_Token": TOKEN}),
        (KEY, {"X_Amz_Security_Token": TOKEN}),
    ],
)
def test_keys_and_token_belong_together(key: str, headers: dict[str, Any]) -> None:
    request = signed(key=key, secret="other", **headers)
    with pytest.raises(UnknownAccessKey, match="security token"):
        session_verifier(now() + timedelta(minutes=1)).verify(request)


def test_a_session_signs_with_its_own_secret() -> None:
    request = signed(key="ASIAEXAMPLE", secret=SECRET, X_Amz_Security_Token=TOKEN)
    with pytest.raises(InvalidSignature):
        session_verifier(now() + timedelta(minutes=1)).verify(request)


def test_an_unsigned_request_is_refused() -> None:
    with pytest.raises(MissingAuthenticationToken):
        VERIFIER.verify(with_header(signed(), "authorization", None))


@pytest.mark.parametrize(
    "skew", [timedelta(minutes=5, seconds=2), -timedelta(minutes=5, seconds=2)]
)
def test_a_time_over_five_minutes_off_is_refused(skew: timedelta) -> None:
    verifier = SignatureVerifier(KEY, SECRET, lambda: now() + skew)
    words = "Signature expired" if skew > timedelta() else "Signature not yet current"
    with pytest.raises(InvalidSignature, match=words):
        verifier.verify(signed())


@pytest.mark.parametrize("skew", [timedelta(minutes=4, seconds=50), -timedelta(minutes=4)])
def test_a_time_less_off_is_accepted(skew: timedelta) -> None:
    SignatureVerifier(KEY, SECRET, lambda: now() + skew).verify(signed())


@pytest.mark.parametrize("claimed", ["UNSIGNED-PAYLOAD", "0" * 64])
def test_a_body_hash_must_be_the_bodys(claimed: str) -> None:
    with pytest.raises(InvalidSignature, match="not the SHA-256 of the body"):
        VERIFIER.verify(signed(X_Amz_Content_SHA256=claimed))


def test_an_unsigned_amz_header_is_refused() -> None:
    request = with_header(signed(), "x-amz-extra", "1")
    with pytest.raises(IncompleteSignature, match="must include x-amz-extra"):
        VERIFIER.verify(request)


def test_host_must_be_signed() -> None:
    request = signed()
    authorization = (request.header("authorization") or "").replace("host;", "")
    with pytest.raises(IncompleteSignature, match="must include host"):
        VERIFIER.verify(with_header(request, "authorization", authorization))


def test_a_header_given_twice_is_refused() -> None:
    request = signed()
    twice = [*request.headers, ("X-Amz-Target", "SageMaker.DeleteModel")]
    with pytest.raises(IncompleteSignature, match="more than once: x-amz-target"):
        VERIFIER.verify(dataclasses.replace(request, headers=twice))


def test_a_signed_header_must_be_there() -> None:
    request = with_header(signed(Content_Type="a/b"), "content-type", None)
    with pytest.raises(IncompleteSignature, match="absent headers: content-type"):
        VERIFIER.verify(request)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic abc",
        f"AWS4-HMAC-SHA256 Credential={KEY}/20150830/us-east-1/sts/aws4_request",
        f"AWS4-HMAC-SHA256 Credential={KEY}/day/us-east-1/sts/aws4_request, SignedHeaders=host, "
        f"Signature={'0' * 64}",
        f"AWS4-HMAC-SHA1 Credential={KEY}/20150830/us-east-1/sts/aws4_request, "
        f"SignedHeaders=host, Signature={'0' * 64}",
    ],
)
def test_an_authorization_of_another_form_is_refused(authorization: str) -> None:
    with pytest.raises(IncompleteSignature, match="Authorization header must be"):
        VERIFIER.verify(with_header(signed(), "authorization", authorization))


@pytest.mark.parametrize("stamp", [None, "yesterday", "20150830T123600Z"])
def test_the_time_must_be_readable_and_of_the_credentials_day(stamp: str | None) -> None:
    request = signed()
    tampered = with_header(request, "x-amz-date", stamp)
    if stamp is None:
        authorization = (request.header("authorization") or "").replace("x-amz-date;", "")
        tampered = with_header(tampered, "authorization", authorization)
    with pytest.raises(
        IncompleteSignature, match=r"Date header|cannot read the time|is not the day"
    ):
        VERIFIER.verify(tampered)


def test_a_date_no_calendar_has_cannot_be_read() -> None:
    authorization = (signed().header("authorization") or "").replace("x-amz-date;", "")
    tampered = with_header(signed(), "x-amz-date", None)
    tampered = with_header(tampered, "authorization", authorization)
    zone = "9" * 20
    with pytest.raises(IncompleteSignature, match="cannot read the time"):
        VERIFIER.verify(with_header(tampered, "date", f"Mon, 01 Jan 2020 00:00:00 +{zone}"))
