"""The figures of the data benchmark as tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.data.meter import Cost, Run
from benchmarks.tables import Spread, markdown, short

MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Measured:
    """The runs of one system at one scale.

    Attributes
    ----------
    name
        Of the system, as the table calls it.
    rows
        Of its input.
    runs
        At least one.
    """

    name: str
    rows: int
    runs: Sequence[Run]

    @property
    def seconds(self) -> Spread:
        """Return those by the clock."""
        return Spread.of([run.cost.seconds for run in self.runs])

    @property
    def cpu_seconds(self) -> Spread:
        """Return those of processors."""
        return Spread.of([run.cost.cpu_seconds for run in self.runs])

    @property
    def megabytes(self) -> Spread:
        """Return the most memory at a time."""
        return Spread.of([run.cost.peak_bytes / MEGABYTE for run in self.runs])

    @property
    def server(self) -> list[Cost]:
        """Return what the S3 server has cost meanwhile, where there is one."""
        return [run.server for run in self.runs if run.server is not None]

    @property
    def steps(self) -> dict[str, Spread]:
        """Return the seconds of each step by the clock."""
        names = self.runs[0].answer["seconds"]
        return {
            name: Spread.of([run.answer["seconds"][name] for run in self.runs]) for name in names
        }


def table(original: Measured | None, ours: Measured) -> str:
    """Lay out what both cost at the same scale, and by how much they differ."""
    systems = [ours] if original is None else [original, ours]
    rows = [
        [
            f"**{system.name}**",
            f"**{system.seconds}**",
            f"**{system.cpu_seconds}**",
            f"**{system.megabytes}**",
        ]
        for system in systems
    ]
    for place, system in reversed(list(enumerate(systems, start=1))):
        parts = [[f"of which {name}", str(spent), "", ""] for name, spent in system.steps.items()]
        if system.server:
            cpu = Spread.of([cost.cpu_seconds for cost in system.server])
            memory = Spread.of([cost.peak_bytes / MEGABYTE for cost in system.server])
            parts.append(["beside it, the S3 server", "", str(cpu), str(memory)])
        rows[place:place] = parts
    if original is not None:
        rows.append(
            [
                f"{original.name} to {ours.name}",
                *(
                    f"{short(theirs.median / own.median)}x"
                    for theirs, own in (
                        (original.seconds, ours.seconds),
                        (original.cpu_seconds, ours.cpu_seconds),
                        (original.megabytes, ours.megabytes),
                    )
                ),
            ]
        )
    return markdown(["", "seconds", "CPU seconds", "peak memory, MB"], rows)


def growth_table(scales: dict[float, Measured]) -> str:
    """Lay out what matinee's steps cost as their input grows."""
    rows = []
    for scale, ours in scales.items():
        counts = ours.runs[0].answer["counts"]
        rows.append(
            [
                f"{scale:g}",
                f"{ours.rows:,}",
                f"{counts['ratings']:,}",
                *(str(ours.steps[step]) for step in ("preprocess", "prepare")),
                str(ours.cpu_seconds),
                f"{ours.cpu_seconds.median / ours.rows * 1e6:.2f}",
                str(ours.megabytes),
            ]
        )
    header = ["scale", "rows", "ratings kept", "preprocess, s", "prepare, s"]
    return markdown([*header, "CPU seconds", "CPU s a million rows", "peak memory, MB"], rows)
