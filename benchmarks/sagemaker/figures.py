"""One measured figure of the local SageMaker, its peer's, and what was aimed at."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.tables import markdown

NOT_RUN = "runs none"


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of the table.

    Attributes
    ----------
    what
        Is measured.
    matinee, moto
        What came out.
    aim
        What was aimed at, or the limit that is known.
    """

    what: str
    matinee: str
    moto: str
    aim: str


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as Markdown."""
    rows = [[figure.what, figure.matinee, figure.moto, figure.aim] for figure in figures]
    return markdown(["", "matinee", "moto", "aim or limit"], rows)
