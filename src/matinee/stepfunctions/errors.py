"""What can go wrong with an execution on this machine, besides the execution itself."""


class InterpreterError(RuntimeError):
    """The interpreter is not installed, or ended without saying how the execution did."""
