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
│   ├── RequestEntityTooLarge           the body is over the limit
│   └── SerializationException          the body is not what its protocol says
├── NotImplementedByMatinee         AWS has the operation, matinee does not
├── ValidationException             a value breaks a rule of the API, or names nothing
├── ResourceInUse                   SageMaker: the name is taken
├── ResourceNotFound                SageMaker: a job to stop or list does not exist
├── ResourceLimitExceeded           SageMaker: too many of something
├── ResourceNotFoundException       Logs: no such group or stream
├── InvalidParameterException       Logs: a parameter does not fit
├── InvalidParameterValueException  CloudWatch: a parameter does not fit
├── InvalidParameterCombinationException  CloudWatch: parameters contradict each other
├── NoSuchEntityException           IAM: no such role
└── InternalFailure                 a fault of the server; the cause is in its log
"""

# ruff: noqa: N818 - the names are AWS's own error codes

from __future__ import annotations


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
    """

    code: str = "InternalFailure"
    query_code: str | None = None
    status: int = 400

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


class ResourceInUse(ServiceError):
    """SageMaker: something with this name exists already."""

    code = "ResourceInUse"


class ResourceNotFound(ServiceError):
    """SageMaker: the named resource does not exist."""

    code = "ResourceNotFound"


class ResourceLimitExceeded(ServiceError):
    """SageMaker: the request would go over a limit."""

    code = "ResourceLimitExceeded"


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


class NoSuchEntityException(ServiceError):
    """IAM: the role does not exist."""

    code = "NoSuchEntityException"
    status = 404


class InternalFailure(ServiceError):
    """The server met a fault of its own; the request id leads to the cause in its log."""

    code = "InternalFailure"
    status = 500
