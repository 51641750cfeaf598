"""What the workflow refuses.

    WorkflowError ├── SettingsError      a run parameter breaks its rule, or two of them contradict
    each other ├── ObjectsError       an S3 URI that is not one, or an object or bucket that cannot
    be read ├── RatingsError       the ratings are missing, empty, of an unknown layout, or leave
    nothing to learn from ├── EvaluationError    the model or its predictions do not fit the test
    set └── PublishError       the model registry or the endpoint is not as publishing needs it

All are the user's to mend: trying the same step again cannot help.
"""


class WorkflowError(ValueError):
    """A step cannot go on with what it was given."""


class SettingsError(WorkflowError):
    """One or more run parameters are wrong; the message lists every problem."""


class ObjectsError(WorkflowError):
    """An S3 URI is malformed, or what it names is missing or not readable."""


class RatingsError(WorkflowError):
    """The ratings cannot be read, or nothing usable is left of them."""


class EvaluationError(WorkflowError):
    """The trained model or its predictions are missing or do not fit the test set."""


class PublishError(WorkflowError):
    """A model cannot be registered, put into service or taken back."""
