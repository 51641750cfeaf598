"""moto's server, with what stacks of two passes need of it and it does not do: `python -m ...`.

- A change set's execution leaves the stack's outputs and parameters as they were before it.
- A route table of a stack is not deleted with it, so the network is not either.
- A parameter that names a public parameter of SSM is answered as its value, which is no name, and
  one that is a number as a number.
- `AWS::NoValue` stays in a list, as None.
"""

from __future__ import annotations

from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.models import CloudFormationBackend, Stack
from moto.ec2.models import ec2_backends
from moto.ec2.models.route_tables import RouteTable
from moto.server import main

_clean_json = parsing.clean_json
_execute = CloudFormationBackend.execute_change_set


def _execute_change_set(
    backend: CloudFormationBackend, change_set_name: str, stack_name: str | None = None
) -> None:
    _execute(backend, change_set_name, stack_name)
    change_set = backend.describe_change_set(change_set_name)
    assert change_set is not None
    stack = backend.stacks[change_set.stack_id]
    stack.parameters = change_set.parameters
    stack._parse_template()
    stack.description = stack.template_dict["Description"]
    stack.output_map = stack._create_output_map()
    backend.delete_change_set(change_set.change_set_id)


def _delete_route_table(table: RouteTable, account_id: str, region: str) -> None:
    tables = ec2_backends[account_id][region].route_tables
    tables.pop(table.id, None)


def _named(stack: Stack) -> dict[str, str]:
    values = {name: str(value) for name, value in stack.resource_map.resolved_parameters.items()}
    for name, parameter in stack.template_dict.get("Parameters", {}).items():
        if parameter["Type"].startswith("AWS::SSM::Parameter::"):
            values[name] = stack.parameters.get(name, parameter["Default"])
    return values


def _listed(stack: Stack) -> list[dict[str, Any]]:
    return [
        {"ParameterKey": name, "ParameterValue": value} for name, value in _named(stack).items()
    ]


def _clean(resource_json: Any, resources_map: parsing.ResourceMap) -> Any:
    if isinstance(resource_json, list):
        cleaned = [_clean(each, resources_map) for each in resource_json]
        return [each for each in cleaned if each is not None]
    return _clean_json(resource_json, resources_map)


if __name__ == "__main__":
    # mypy sees functions where methods are.
    CloudFormationBackend.execute_change_set = _execute_change_set  # type: ignore
    parsing.clean_json = _clean
    RouteTable.delete = _delete_route_table  # type: ignore[attr-defined]
    Stack.stack_parameters = property(_named)  # type: ignore[assignment]
    Stack.parameter_list = property(_listed)  # type: ignore[assignment]
    main()
