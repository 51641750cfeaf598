"""How `matinee cloud` shows what happens to a stack, what would, and what it would cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from matinee.cli.board import SIGNS, Board, Mark
from matinee.cli.screen import headed, printable, say
from matinee.cloud.billing import PRICE_PAGES, UNITS, Bill, Prices
from matinee.cloud.bundle import Bundle
from matinee.cloud.deploy import Change
from matinee.cloud.destroy import Check, Remains
from matinee.cloud.health import Health
from matinee.cloud.plan import Plan
from matinee.cloud.stack import Event

_ACTIONS = {"Add": "+", "Modify": "~", "Remove": "-", "Import": "+"}
_MOST_NAMES = 3


class Screen:
    """A reporter of deployments and removals.

    Parameters
    ----------
    console
        Where to write. In a terminal what is under way is shown live; elsewhere there are lines.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, line: str) -> None:
        """Print a line."""
        say(self._console, printable(line))

    def changes(self, changes: list[Change]) -> None:
        """Print what an update is about to do."""
        self.say(f"{len(changes)} resources change:")
        for change in changes:
            sign = _ACTIONS.get(change.action, "?")
            after = ", replaced" if change.is_replaced else ""
            self.say(f"  {sign} {change.resource} ({change.type}){after}")

    @contextmanager
    def watching(self, name: str) -> Iterator[Callable[[Event], None]]:
        """Give what shows the events of a stack: a line when a resource is done, or failed."""
        busy: dict[str, None] = {}
        done, last = 0, ""
        with Board(self._console) as board:

            def show(event: Event) -> None:
                nonlocal done, last
                if event.status.endswith("_IN_PROGRESS") and not event.is_of_stack:
                    busy[event.resource] = None
                elif not event.is_of_stack:
                    busy.pop(event.resource, None)
                    done += 1
                    sign = SIGNS[Mark.FAILED if event.is_failure else Mark.DONE]
                    reason = f": {event.reason}" if event.reason else ""
                    self.say(f"{sign} {event.status:<16} {event.resource} ({event.type}){reason}")
                else:
                    last = event.status
                    if not self._console.is_terminal:
                        self.say(f"  {event.status:<16} stack {event.resource}")
                if self._console.is_terminal:
                    more = f" and {len(busy) - _MOST_NAMES} more" if len(busy) > _MOST_NAMES else ""
                    names = ", ".join(list(busy)[:_MOST_NAMES]) + more
                    board.show(name, Mark.BUSY, f"{done} done; {names}")

            yield show
            if self._console.is_terminal:
                is_well = last.endswith("_COMPLETE") and "ROLLBACK" not in last
                board.show(name, Mark.DONE if is_well else Mark.FAILED, last)


def show_plan(plan: Plan, screen: Console) -> None:
    """Print how many resources of which type are made, changed, kept and removed."""
    for title, resources in (
        ("to be made", plan.made),
        ("to be changed, at most", plan.changed),
        ("to be removed", plan.removed),
        ("kept", plan.kept),
    ):
        if resources:
            say(screen, f"{len(resources)} {title}:")
            for kind, count in sorted(Counter(resources.values()).items()):
                names = ", ".join(name for name, each in resources.items() if each == kind)
                say(screen, f"  {count} {kind}: {names}")


def show_bundle(bundle: Bundle, there: Mapping[str, bool], screen: Console) -> None:
    """Print the files of the code, and which of them are in the bucket already."""
    say(screen, f"code {bundle.version}, {len(bundle.files)} files:")
    for name, content in sorted(bundle.files.items()):
        state = "there already" if there.get(name) else "to be uploaded"
        say(screen, f"  {name}, {len(content):,} bytes, {state}")


def show_bill(bill: Bill, prices: Prices | None, screen: Console) -> None:
    """Print what a month of the stack is billed for, and what it costs by the user's prices."""
    costs = [prices.of(item) if prices else None for item in bill.items]
    columns = ["what", ">a month", "unit"]
    table = headed("Billed while it does nothing", *columns, *([">cost"] if prices else []))
    for item, cost in zip(bill.items, costs, strict=True):
        shown = "no price" if cost is None else f"{cost:,.2f}"
        amount = f"{item.amount:,.0f}"
        table.add_row(Text(item.what), amount, UNITS[item.unit], *([shown] if prices else []))
    screen.print(table)
    if prices is None:
        say(screen, f"no price is shipped: {PRICE_PAGES}; --prices FILE multiplies by yours")
    else:
        known = [cost for cost in costs if cost is not None]
        without = len(costs) - len(known)
        rest = f", without {without} items that have no price" if without else ""
        total = f"{sum(known):,.2f} {prices.currency}".strip()
        say(screen, f"{total} a month{rest}; prices of {prices.source}, {prices.date}")
    say(screen, "and by use:")
    for line in bill.by_use:
        say(screen, f"  {line}")
    for kind in bill.unknown:
        say(screen, f"  {kind}: not judged here, look it up")


def show_outputs(outputs: Mapping[str, str], screen: Console) -> None:
    """Print the outputs of a stack, whole."""
    for name, value in sorted(outputs.items()):
        say(screen, f"{name:<18} {printable(value)}")


def show_remains(name: str, remains: Remains, screen: Console) -> None:
    """Print what a removal removes."""
    if remains.described is not None:
        say(screen, f"stack {name}, {remains.described.status}, of {len(remains.resources)}:")
        for kind, count in sorted(Counter(each.type for each in remains.resources).items()):
            say(screen, f"  {count} {kind}")
    if remains.bucket is not None:
        say(screen, f"all that is in s3://{remains.bucket}, in all its versions")
    for kind, names in remains.found._asdict().items():
        if names:
            say(screen, f"{len(names)} {kind}: {', '.join(names)}")


def show_check(check: Check, screen: Console) -> None:
    """Print whether anything is left of what was looked for."""
    sign = SIGNS[Mark.FAILED if check.left else Mark.DONE]
    left = f"left: {', '.join(check.left)}" if check.left else "none left"
    say(screen, f"{sign} {check.what}: {left}")


def show_health(health: Health, screen: Console) -> None:
    """Print how each part of a stack is, and what runs."""
    for part in health.parts:
        sign = SIGNS[Mark.DONE if part.is_well else Mark.FAILED]
        say(screen, f"{sign} {part.what}: {printable(part.state)}")
    for kind, names in (("jobs", health.jobs), ("endpoints", health.endpoints)):
        say(screen, f"  {kind} now: {', '.join(names) or 'none'}")
