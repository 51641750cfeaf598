"""A CloudFormation template as data: its parameters and their rules, which resources they make.

It reads YAML with CloudFormation's short forms (`!Ref`, `!Sub`, `!GetAtt`, ...) and writes them
out. Of the language it knows what decides which resources there are: `Ref` to a parameter and the
conditions' functions; it refuses others in a condition.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import yaml

from matinee.cloud.errors import TemplateError

_FOLDER = Path(__file__).parent / "templates"
CODE_VERSION = "CodeVersion"


class Kind(StrEnum):
    """Who runs Airflow: an instance of one's own, or MWAA."""

    EC2 = "ec2"
    MWAA = "mwaa"

    @classmethod
    def of(cls, parameters: Container[str]) -> Self:
        """Return the kind of a stack or template, by the names of its parameters."""
        return cls.MWAA if "EnvironmentClass" in parameters else cls.EC2


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms."""


def _long_form(loader: _Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _long_form)


@dataclass(frozen=True)
class Template:
    """One template.

    Parameters
    ----------
    text
        As it is written, YAML or JSON.
    """

    text: str

    @classmethod
    def of(cls, kind: Kind) -> Self:
        """Read the template that matinee has for a kind of stack."""
        return cls((_FOLDER / f"airflow-{kind}.yaml").read_text())

    @cached_property
    def body(self) -> dict[str, Any]:
        """What CloudFormation reads in it."""
        body: dict[str, Any] = yaml.load(self.text, _Loader)  # noqa: S506 - of a SafeLoader
        return body

    @property
    def kind(self) -> Kind:
        """The kind of stack that it makes."""
        return Kind.of(self.parameters)

    @property
    def digest(self) -> str:
        """Twelve digits of the SHA-256 of its text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        """Its parameters by their names."""
        parameters: dict[str, dict[str, Any]] = self.body["Parameters"]
        return parameters

    def values(self, chosen: Mapping[str, str]) -> dict[str, str]:
        """Return the values of all parameters: those that are chosen, else the defaults."""
        return {
            name: chosen.get(name, str(parameter.get("Default", "")))
            for name, parameter in self.parameters.items()
        }

    def check(self, chosen: Mapping[str, str]) -> None:
        """Refuse parameters that CloudFormation would refuse, before anything is done.

        Raises
        ------
        TemplateError
            Naming every one of them, and its rule.
        """
        problems = [
            problem for name, value in chosen.items() if (problem := self._problem(name, value))
        ]
        if problems:
            raise TemplateError("; ".join(problems))

    def _problem(self, name: str, value: str) -> str | None:
        parameter = self.parameters.get(name)
        if parameter is None:
            known = ", ".join(each for each in self.parameters if each != CODE_VERSION)
            return f"the template has no parameter {name}: it has {known}"
        if name == CODE_VERSION:
            return f"{name} is what is deployed, and not yours to choose"
        if "AllowedValues" in parameter:
            allowed = [str(each) for each in parameter["AllowedValues"]]
            return (
                None if value in allowed else f"{name}={value}: it is one of {', '.join(allowed)}"
            )
        if "AllowedPattern" in parameter and not re.fullmatch(parameter["AllowedPattern"], value):
            return f"{name}={value}: it must be {parameter['ConstraintDescription']}"
        return None

    def first_pass(self) -> str:
        """Return, as JSON, the part that needs no code: what no condition is on.

        There is no bucket yet that a template could be read from, and what is sent along may have
        51,200 bytes: less than a whole template may grow to.
        """
        unconditional = {
            section: {
                name: each for name, each in self.body[section].items() if "Condition" not in each
            }
            for section in ("Resources", "Outputs")
        }
        return json.dumps({**self.body, **unconditional}, separators=(",", ":"))

    def resources(self, chosen: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Return the resources that there are with these parameters, by their names."""
        values = self.values(chosen)
        return {
            name: resource
            for name, resource in self.body["Resources"].items()
            if "Condition" not in resource or self.holds(resource["Condition"], values)
        }

    def holds(self, condition: str, values: Mapping[str, str]) -> bool:
        """Say whether a condition holds for the values of all parameters."""
        return self._holds(self.body["Conditions"][condition], values)

    def _holds(self, expression: Mapping[str, Any], values: Mapping[str, str]) -> bool:
        [(function, argument)] = expression.items()
        match function:
            case "Condition":
                return self.holds(argument, values)
            case "Fn::Not":
                return not self._holds(argument[0], values)
            case "Fn::And":
                return all(self._holds(each, values) for each in argument)
            case "Fn::Or":
                return any(self._holds(each, values) for each in argument)
            case "Fn::Equals":
                left, right = (resolved(each, values) for each in argument)
                return bool(left == right)
        raise TemplateError(f"{function} in a condition is not understood")


def resolved(value: Any, values: Mapping[str, str]) -> Any:
    """Return the value of a reference to a parameter; anything else as it is."""
    match value:
        case {"Ref": name} if name in values:
            return values[name]
    return value


def references(value: Any) -> Iterator[str]:
    """Yield the names that a piece of a template refers to, parameters and resources alike."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key == "Ref":
                yield each
            elif key == "Fn::GetAtt":
                yield each[0]
            elif key == "Fn::Sub":
                text = each if isinstance(each, str) else each[0]
                yield from (name.split(".")[0] for name in re.findall(r"\$\{([^!}]+)\}", text))
                yield from references(each)
            else:
                yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)
