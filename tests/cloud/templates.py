"""The CloudFormation templates as data, and the text of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfnlint.decode import decode

import matinee.cloud

FOLDER = Path(matinee.cloud.__file__).parent / "templates"
EVERY = sorted(path.name for path in FOLDER.glob("*.yaml"))
# Of the stacks, which are of one shape.
NAMES = sorted(path.name for path in FOLDER.glob("airflow-*.yaml"))


@dataclass(frozen=True)
class Template:
    """One template: its text, and what CloudFormation reads in it (short forms written out)."""

    name: str

    @property
    def path(self) -> Path:
        return FOLDER / self.name

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def body(self) -> dict[str, Any]:
        parsed, problems = decode(str(self.path))
        assert not problems
        body: dict[str, Any] = json.loads(json.dumps(parsed))
        return body

    @property
    def resources(self) -> dict[str, Any]:
        resources: dict[str, Any] = self.body["Resources"]
        return resources

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the properties of all resources of a type, by their names."""
        return {
            name: resource["Properties"]
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def statements(self) -> list[dict[str, Any]]:
        """Return the statements of all policies of all roles."""
        policies = [
            *(
                policy
                for role in self.of_type("AWS::IAM::Role").values()
                for policy in role.get("Policies", [])
            ),
            *self.of_type("AWS::IAM::Policy").values(),
        ]
        return [each for policy in policies for each in policy["PolicyDocument"]["Statement"]]

    def policy(self, role: str, name: str) -> dict[str, Any]:
        """Return one policy of a role."""
        policies = self.resources[role]["Properties"]["Policies"]
        document: dict[str, Any] = next(
            policy["PolicyDocument"] for policy in policies if policy["PolicyName"] == name
        )
        return document

    def policies_of(self, role: str) -> dict[str, dict[str, Any]]:
        """Return all policies of a role by their names, those that are resources of their own too.

        Some of these only some parameters make.
        """
        inline = self.resources[role]["Properties"].get("Policies", [])
        own = [
            policy
            for policy in self.of_type("AWS::IAM::Policy").values()
            if f'"{role}"' in json.dumps(policy["Roles"])
        ]
        return {each["PolicyName"]: each["PolicyDocument"] for each in [*inline, *own]}

    def install_script(self, values: dict[str, str]) -> str:
        """Return what the instance is started with, with `${...}` of its first lines filled in.

        Values decide of which engine it is told: `AthenaDatabase`, `GlueJob` or none.
        """
        data = self.resources["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["UserData"]
        shebang, exports, listen, engine, script = data["Fn::Base64"]["Fn::Join"][1]
        _, of_athena, otherwise = engine["Fn::If"]
        _, of_glue, of_none = otherwise["Fn::If"]
        chosen = of_none
        if "AthenaDatabase" in values:
            chosen = of_athena["Fn::Sub"]
        elif "GlueJob" in values:
            chosen = of_glue["Fn::Sub"]
        text = "\n".join([exports["Fn::Sub"][0], listen["Fn::If"][2], chosen])
        for name, value in values.items():
            text = text.replace(f"${{{name}}}", value)
        return "\n".join([shebang, text, script])


def as_list(value: Any) -> list[Any]:
    """Return what may be one or a list of them as a list."""
    return value if isinstance(value, list) else [value]
