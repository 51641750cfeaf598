"""The errors a caller of the local AWS services can meet.

Each class carries the code AWS uses and the HTTP status; the message names the offending value and
the rule. ``wire`` turns them into the body of the protocol the caller speaks.

ServiceError
├── RequestRefused                  refused before an operation was chosen
│   ├── AccessDeniedException           the Host or Origin is not allowed
│   ├── MissingAuthenticationToken      the request is not signed
│   ├── IncompleteSignature             the signature cannot be read
│   ├── InvalidSignature                the signature is not the one these keys give
│   ├── UnknownAccessKey                no such access key
│   ├── ExpiredToken                    the temporary keys have had their time
│   ├── RequestEntityTooLarge           the body is over the limit
│   └── SerializationException          the body is not what its protocol says
├── NotImplementedByMatinee         AWS has the operation, matinee does not
├── ValidationException             a value breaks a rule of the API, or names nothing
├── ValidationError                 SageMaker Runtime: the same
├── ServiceUnavailable              SageMaker Runtime: no instance can take the request
├── ThrottlingException             SageMaker Runtime: a serverless variant is at its limit
├── ModelError                      SageMaker Runtime: the container answered with an error
├── ResourceInUse                   SageMaker: the name is taken
├── ResourceNotFound                SageMaker: a job to stop or list does not exist
├── ResourceLimitExceeded           SageMaker: too many of something
├── ConflictException               SageMaker: what is asked does not fit what is there
├── ResourceNotFoundException       Logs: no such group or stream
├── InvalidParameterException       Logs: a parameter does not fit
├── InvalidParameterValueException  CloudWatch: a parameter does not fit
├── InvalidParameterCombinationException  CloudWatch: parameters contradict each other
├── MissingRequiredParameterException  CloudWatch: a parameter is missing
├── InvalidNextToken                CloudWatch: the token is none of this query
├── NotAuthorized                   the caller's role may not do that
├── ObjectNotFoundException         Application Auto Scaling: no such target or policy
├── NoSuchEntityException           IAM: no such role or policy
├── EntityAlreadyExistsException    IAM: the name is taken
├── DeleteConflictException         IAM: something still hangs on it
├── UnmodifiableEntityException     IAM: it was given when the server started
├── InvalidInputException           IAM: a parameter does not fit
├── MalformedPolicyDocumentException  IAM: it is not a policy
├── RepositoryNotFoundException     ECR: no registered algorithm has this name
├── ImageNotFoundException          ECR: the repository has no such image
└── InternalFailure                 a fault of the server; the cause is in its log
"""

# ruff: noqa: N818 - the names are AWS's own error codes

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ServiceError(Exception):
    """An answer that says no, in AWS's words.

    Parameters
    ----------
    message
        What was wrong, for the caller to read.

    Attributes
    ----------
    code
        AWS's code in the JSON protocols.
    query_code
        AWS's code in the query protocol where it differs and the service's model does not say it.
    status
        HTTP status.
    details
        Further members of the modelled error, in the REST protocol.
    """

    code: str = "InternalFailure"
    query_code: str | None = None
    status: int = 400
    details: Mapping[str, Any] = {}

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RequestRefused(ServiceError):
    """The request is refused before its operation is looked at."""

    code = "AccessDeniedException"


class AccessDeniedException(RequestRefused):
    """The request came by a name or from a page that is not allowed."""

    status = 403


class MissingAuthenticationToken(RequestRefused):
    """The request carries no signature."""

    code = "MissingAuthenticationToken"
    status = 403


class IncompleteSignature(RequestRefused):
    """The Authorization header lacks a part, or a part cannot be read."""

    code = "IncompleteSignature"


class InvalidSignature(RequestRefused):
    """The signature, its time or its body hash is wrong.

    JSON services call it ``InvalidSignatureException``, query services ``SignatureDoesNotMatch``.
    """

    code = "InvalidSignatureException"
    query_code = "SignatureDoesNotMatch"
    status = 403


class UnknownAccessKey(RequestRefused):
    """The access key id is not this server's.

    JSON services call it ``UnrecognizedClientException``, query services ``InvalidClientTokenId``.
    """

    code = "UnrecognizedClientException"
    query_code = "InvalidClientTokenId"
    status = 403


class ExpiredToken(RequestRefused):
    """The temporary keys of a role have had their time.

    JSON services call it ``ExpiredTokenException``, query services ``ExpiredToken``.
    """

    code = "ExpiredTokenException"
    query_code = "ExpiredToken"
    status = 403


class RequestEntityTooLarge(RequestRefused):
    """The body is over the server's limit."""

    code = "RequestEntityTooLarge"
    status = 413


class SerializationException(RequestRefused):
    """The body cannot be parsed, or a value has another type than the model says."""

    code = "SerializationException"


class NotImplementedByMatinee(ServiceError):
    """The operation exists on AWS, or nowhere, but not here."""

    code = "UnknownOperationException"

    def __init__(self, operation: str) -> None:
        super().__init__(f"not implemented by matinee: {operation}")


class ValidationException(ServiceError):
    """A value breaks a rule of the API, or names something that does not exist."""

    code = "ValidationException"
    query_code = "ValidationError"


class ValidationError(ServiceError):
    """SageMaker Runtime: a value breaks a rule, or names something that does not exist."""

    code = "ValidationError"


class ServiceUnavailable(ServiceError):
    """No instance of the endpoint can take the request now, or the server is being stopped."""

    code = "ServiceUnavailable"
    status = 503


class ThrottlingException(ServiceError):
    """SageMaker Runtime: a serverless variant has as many requests as it takes at once."""

    code = "ThrottlingException"
    status = 429


class ModelError(ServiceError):
    """SageMaker Runtime: the model's container answered with an error, or not in time.

    Parameters
    ----------
    message
        AWS's sentence about it.
    original_status, original_message
        What the container answered; 0 when it did not.
    log_stream_arn
        Where its log is.
    """

    code = "ModelError"
    status = 424

    def __init__(
        self, message: str, original_status: int, original_message: str, log_stream_arn: str
    ) -> None:
        super().__init__(message)
        self.details = {
            "OriginalStatusCode": original_status,
            "OriginalMessage": original_message,
            "LogStreamArn": log_stream_arn,
        }


class ResourceInUse(ServiceError):
    """SageMaker: something with this name exists already."""

    code = "ResourceInUse"


class ResourceNotFound(ServiceError):
    """SageMaker: the named resource does not exist."""

    code = "ResourceNotFound"


class ResourceLimitExceeded(ServiceError):
    """SageMaker: the request would go over a limit."""

    code = "ResourceLimitExceeded"


class ConflictException(ServiceError):
    """SageMaker: a change does not go together with what exists."""

    code = "ConflictException"


class ResourceNotFoundException(ServiceError):
    """Logs: the log group or stream does not exist."""

    code = "ResourceNotFoundException"


class InvalidParameterException(ServiceError):
    """Logs: a parameter does not fit the operation."""

    code = "InvalidParameterException"


class InvalidParameterValueException(ServiceError):
    """CloudWatch: the value of a parameter is not allowed."""

    code = "InvalidParameterValueException"


class InvalidParameterCombinationException(ServiceError):
    """CloudWatch: parameters that exclude each other, or need each other."""

    code = "InvalidParameterCombinationException"


class MissingRequiredParameterException(ServiceError):
    """CloudWatch: a parameter is missing."""

    code = "MissingRequiredParameterException"


class InvalidNextToken(ServiceError):
    """CloudWatch: the token is none of this query."""

    code = "InvalidNextToken"


class NotAuthorized(ServiceError):
    """The policies of the caller's role do not allow the operation, or deny it."""

    code = "AccessDeniedException"
    query_code = "AccessDenied"
    status = 403


class ObjectNotFoundException(ServiceError):
    """Application Auto Scaling: the scalable target or the policy does not exist."""

    code = "ObjectNotFoundException"


class NoSuchEntityException(ServiceError):
    """IAM: the role or policy does not exist."""

    code = "NoSuchEntityException"
    status = 404


class EntityAlreadyExistsException(ServiceError):
    """IAM: something of this kind has the name already."""

    code = "EntityAlreadyExistsException"
    status = 409


class DeleteConflictException(ServiceError):
    """IAM: what is to be deleted is still in use, or not empty."""

    code = "DeleteConflictException"
    status = 409


class UnmodifiableEntityException(ServiceError):
    """IAM: the role was named when the server started; no request changes it."""

    code = "UnmodifiableEntityException"


class InvalidInputException(ServiceError):
    """IAM: the value of a parameter is not allowed."""

    code = "InvalidInputException"


class MalformedPolicyDocumentException(ServiceError):
    """IAM: the text is no policy document, or none for this use."""

    code = "MalformedPolicyDocumentException"
    query_code = "MalformedPolicyDocument"


class RepositoryNotFoundException(ServiceError):
    """ECR: no registered algorithm has a repository of this name."""

    code = "RepositoryNotFoundException"


class ImageNotFoundException(ServiceError):
    """ECR: the repository has no image of this digest."""

    code = "ImageNotFoundException"


class InternalFailure(ServiceError):
    """The server met a fault of its own; the request id leads to the cause in its log."""

    code = "InternalFailure"
    status = 500
