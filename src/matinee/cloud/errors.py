"""What can go wrong with a stack on AWS.

StackError
└── CloudError
    ├── TemplateError     a parameter is unknown to the template, or breaks its rule
    ├── BundleError       the code to be deployed cannot be put together
    └── AWSStackError     the stack is not as the command needs it, or CloudFormation gave up
"""

from __future__ import annotations

from matinee.stack.errors import StackError


class CloudError(StackError):
    """The root of the tree: a sentence that a user can act on."""


class TemplateError(CloudError):
    """A parameter is unknown to the template, or breaks the rule that the template has for it."""


class BundleError(CloudError):
    """The code to be deployed cannot be put together from what is here."""


class AWSStackError(CloudError):
    """The stack is in a state that the command cannot go on from; the message has the reason."""
