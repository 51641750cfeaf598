"""What can go wrong with a Factorization Machine, and whose fault it is.

FactorizationMachineError
 ├── HyperparameterError   a hyperparameter is missing, unknown or out of its range
 ├── DataError             features or labels cannot be trained on, measured or scored
 ├── DivergedError         training left the finite numbers; no model exists
 └── ArtifactError         a file is not a Factorization Machines model
"""


class FactorizationMachineError(Exception):
    """Base of everything that ``matinee.fm`` raises on purpose."""


class HyperparameterError(FactorizationMachineError, ValueError):
    """Hyperparameters break their rules; the message names each offending name, value and rule."""


class DataError(FactorizationMachineError, ValueError):
    """Features or labels break a rule; the message names the record, the value and the rule."""


class DivergedError(FactorizationMachineError, ArithmeticError):
    """A prediction or a parameter became infinite or NaN while training."""


class ArtifactError(FactorizationMachineError, ValueError):
    """A model artifact is malformed, too large or not of this algorithm."""
