"""The tables of the documentation that the code knows better: `python docs/tables.py [--check]`.

Rewrites what stands between `<!-- table: NAME -->` and `<!-- end -->` in the Markdown files beside
it; with --check it changes nothing and fails if a table is out of date.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from matinee.sagemaker.app import OPERATIONS
from matinee.workflow.parameters import PARAMETERS

_PASSAGE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def parameters() -> str:
    """Return every run parameter with its default and its help."""
    lines = ["| parameter | default | meaning |", "|---|---|---|"]
    lines += [
        f"| `{name}` | `{json.dumps(parameter.default)}` | {parameter.help} |"
        for name, parameter in PARAMETERS.items()
    ]
    return "\n".join(lines) + "\n"


def operations() -> str:
    """Return every AWS operation that the local SageMaker executes, by service."""
    lines = ["| service | operations that execute |", "|---|---|"]
    lines += [
        f"| {service} | {', '.join(f'`{name}`' for name in sorted(table))} |"
        for service, table in sorted(OPERATIONS.items())
    ]
    return "\n".join(lines) + "\n"


TABLES: dict[str, Callable[[], str]] = {"parameters": parameters, "operations": operations}


def main() -> int:
    """Rewrite or check the tables; 1 if a check found one out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail if out of date")
    check = parser.parse_args().check
    stale = []
    for path in sorted(Path(__file__).parent.glob("*.md")):
        text = path.read_text()
        fresh = _PASSAGE.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)
        if fresh != text:
            stale.append(path.name)
            if not check:
                path.write_text(fresh)
    if check and stale:
        print(f"out of date: {', '.join(stale)}; run `python docs/tables.py`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
