"""What a deployment would do to a stack, told without a call that changes anything.

It compares templates and parameters, which CloudFormation does better: what it calls changed may
turn out to be the same. The change set of the deployment itself is exact.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from matinee.cloud.stack import NEVER_CREATED, Described, Stack
from matinee.cloud.template import Template, references


class Plan(NamedTuple):
    """The resources by what becomes of them: their types by their names."""

    made: dict[str, str]
    changed: dict[str, str]
    kept: dict[str, str]
    removed: dict[str, str]


def plan(
    template: Template, chosen: Mapping[str, str], stack: Stack, described: Described | None
) -> Plan:
    """Return what a deployment would do.

    Parameters
    ----------
    template
        The new one.
    chosen
        Its parameters, the code's version among them; the others stay as they are.
    stack
    described
        The stack as it is; None if there is none. One that was never created is removed first.
    """
    if described is None or described.status in NEVER_CREATED:
        wanted = template.resources(chosen)
        return Plan({name: str(each["Type"]) for name, each in wanted.items()}, {}, {}, {})
    body = stack.template()
    before = Template(body if isinstance(body, str) else json.dumps(body))
    wanted = template.resources(kept_values(template, chosen, described))
    there = {resource.name: resource.type for resource in stack.resources()}
    touched = _touched(template, before, chosen, described)
    result = Plan({}, {}, {}, {name: kind for name, kind in there.items() if name not in wanted})
    for name, resource in wanted.items():
        group = result.kept if name in there else result.made
        group = result.changed if name in there and name in touched else group
        group[name] = resource["Type"]
    return result


def kept_values(
    template: Template, chosen: Mapping[str, str], described: Described | None
) -> dict[str, str]:
    """Return the values of all parameters: the chosen ones, else the stack's, else the defaults."""
    kept = described.parameters if described else {}
    return template.values({**kept, **chosen})


def _touched(
    template: Template, before: Template, chosen: Mapping[str, str], described: Described
) -> set[str]:
    """Return what is written differently, or refers to something that changes."""
    after, old = template.body["Resources"], before.body["Resources"]
    values = kept_values(template, chosen, described)
    touched = {name for name, value in values.items() if described.parameters.get(name) != value}
    touched |= {name for name, each in after.items() if old.get(name) != each}
    uses = {name: set(references(each)) for name, each in after.items()}
    while more := {name for name in uses if name not in touched and uses[name] & touched}:
        touched |= more
    return touched
