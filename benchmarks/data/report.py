"""The figures of the data benchmark as tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.data.meter import Cost, Run
from benchmarks.tables import Spread, markdown, short

MEGABYTE = 1e6

Round = Mapping[str, Run]
"""What each step cost in one round."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One system at one scale.

    Attributes
    ----------
    name
        Of the system, as the tables call it.
    rows
        Of its input.
    ratings
        That it kept of them.
    rounds
        At least one.
    parts
        Seconds that a program told of parts of itself, round by round.
    """

    name: str
    rows: int
    ratings: int
    rounds: Sequence[Round]
    parts: Sequence[Mapping[str, float]] = ()

    def only(self, *steps: str) -> "Measured":
        """Return the same with some of its steps."""
        rounds = [{step: one[step] for step in steps} for one in self.rounds]
        return Measured(self.name, self.rows, self.ratings, rounds, self.parts)

    def spread(self, figure: Callable[[Cost], float], total: Callable[..., float] = sum) -> Spread:
        """Return a figure of all steps together, over the rounds."""
        return Spread.of([total(figure(run.cost) for run in one.values()) for one in self.rounds])

    @property
    def seconds(self) -> Spread:
        """Return those by the clock."""
        return self.spread(lambda cost: cost.seconds)

    @property
    def cpu_seconds(self) -> Spread:
        """Return those of processors."""
        return self.spread(lambda cost: cost.cpu_seconds)

    @property
    def megabytes(self) -> Spread:
        """Return the most memory at a time."""
        return self.spread(lambda cost: cost.peak_bytes / MEGABYTE, max)

    @property
    def load(self) -> Spread:
        """Return how many processes wanted a processor, on average over the minute before."""
        return Spread.of([run.load for one in self.rounds for run in one.values()])

    @property
    def median(self) -> Cost:
        """Return the three medians."""
        megabytes = self.megabytes.median
        return Cost(self.seconds.median, self.cpu_seconds.median, round(megabytes * MEGABYTE))

    def cells(self) -> list[str]:
        """Return the three figures as text."""
        return [str(self.seconds), str(self.cpu_seconds), str(self.megabytes)]


def table(original: Measured | None, ours: Measured) -> str:
    """Lay out what both cost at the same scale, and by how much they differ."""
    rows = []
    if original is not None:
        rows.append([f"**{original.name}**", *original.cells()])
        for part in original.parts[0]:
            seconds = Spread.of([one[part] for one in original.parts])
            rows.append([f"of which {part}", str(seconds), "", ""])
    rows.append([f"**{ours.name}**", *ours.cells()])
    rows += [[f"of which {step}", *ours.only(step).cells()] for step in ours.rounds[0]]
    server = [[run.server for run in one.values() if run.server is not None] for one in ours.rounds]
    if all(server):
        cpu = Spread.of([sum(cost.cpu_seconds for cost in one) for one in server])
        memory = Spread.of([max(cost.peak_bytes for cost in one) / MEGABYTE for one in server])
        rows.append(["beside it, the S3 server", "", str(cpu), str(memory)])
    if original is not None:
        pairs = (
            (original.seconds, ours.seconds),
            (original.cpu_seconds, ours.cpu_seconds),
            (original.megabytes, ours.megabytes),
        )
        ratios = [f"{short(theirs.median / own.median)}x" for theirs, own in pairs]
        rows.append([f"{original.name} to {ours.name}", *ratios])
    return markdown(["", "seconds", "CPU seconds", "peak memory, MB"], rows)


def growth_table(measured: Mapping[float, Measured]) -> str:
    """Lay out what each of matinee's steps costs as its input grows."""
    header = ["step", "scale", "rows", "seconds", "CPU seconds", "peak memory, MB"]
    steps = next(iter(measured.values())).rounds[0]
    return markdown(
        header,
        [
            [step, f"{scale:g}", f"{ours.rows:,}", *ours.only(step).cells()]
            for step in steps
            for scale, ours in measured.items()
        ],
    )


def computed_table(measured: Mapping[float, Measured], scale: float) -> str:
    """Lay out what processors a larger scale would cost, on the line through two measured ones.

    Parameters
    ----------
    measured
        Of two scales or more; the line goes through the first and the last.
    scale
        The larger one.
    """
    first, *_, last = measured.values()
    rows_more = last.rows - first.rows
    rows_at = first.rows + round(
        (scale - min(measured)) / (max(measured) - min(measured)) * rows_more
    )
    lines = []
    for step in first.rounds[0]:
        few, many = (one.only(step).cpu_seconds.median for one in (first, last))
        slope = (many - few) / rows_more
        hours = (few + slope * (rows_at - first.rows)) / 3600
        lines.append([step, f"{slope * 1e6:.2f}", short(hours)])
    header = ["step", "CPU seconds for a million rows more", f"CPU hours for {rows_at:,} rows"]
    return markdown(header, lines)
