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

from matinee.fm.matinee_hyperparameters import RULES, SOLVERS, default_configuration
from matinee.fm.mcmc import McmcSettings
from matinee.sagemaker.app import OPERATIONS, RECORDED
from matinee.sagemaker.http.wire import load_services
from matinee.workflow.parameters import PARAMETERS

_GROUPS = ("bias", "linear", "factors")
_MEANINGS = {
    "feature_dim": "width of the records",
    "num_factors": "length of each feature's factor vector",
    "predictor_type": "`regressor`, or `binary_classifier` of labels 0 and 1",
    "epochs": "passes over the records; sweeps of the sampler",
    "patience": "epochs without a lower validation loss before training stops",
    "threads": "unset: `mcmc` uses all cores, `sgd` one",
    "seed": "goes before the environment's `MATINEE_SEED`; unset: a fresh one, which is logged",
    "init_sigma": "standard deviation of the initial factors",
    "learning_rate": "size of a step",
    "regularization": "L2 penalty on the features of each record",
    "num_models": "models trained from seeds of their own, then averaged into one",
    "artifact_factors": "most factors of the averaged model",
    "burn_in": "sweeps at the beginning that the result forgets; unset: "
    f"{McmcSettings().burn_in}, at most a sixth of them",
    "field_dims": "widths of the fields, such as `943,1682`; unset: found",
    "num_samples": "posterior samples kept in the artifact, at most 300",
    "mini_batch_size": "records of a step",
    "clip_gradient": "bound of a gradient's size",
    "rescale_grad": "factor of gradient sums; unset: 1 / mini_batch_size",
    "eps": "Adam's epsilon; unset: 1e-8",
    "use_bias": "whether there is a constant term",
    "use_linear": "whether there are linear terms",
    "batch_metrics_publish_interval": "batches between metrics of batches",
    "lr": "learning rates of Adam",
    "wd": "weight decay (L2)",
    "init_method": "`normal`, `uniform` or `constant`",
    "init_sigma of a group": "for `normal`",
    "init_scale": "for `uniform`; unset: 0.07",
    "init_value": "for `constant`; unset: 0",
}

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
    """Return what becomes of every operation of AWS's services, by service."""
    parts = []
    for name, service in sorted(load_services(OPERATIONS).items()):
        offered = set(service.operations)
        recorded = offered & RECORDED.get(name, frozenset())
        absent = set(service.model.operation_names) - offered
        lines = [
            f"### {name}",
            "",
            f"executes ({len(offered - recorded)}): {_listed(offered - recorded)}",
        ]
        if recorded:
            lines += ["", f"records ({len(recorded)}): {_listed(recorded)}"]
        lines += ["", f"absent ({len(absent)}): {_listed(absent) or 'none'}"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _listed(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def hyperparameters() -> str:
    """Return every hyperparameter of matinee-fm with its default for each solver."""
    defaults = {solver: default_configuration(solver) for solver in SOLVERS}
    required = {"feature_dim", "predictor_type"}

    def default(solver: str, name: str) -> str:
        if name not in SOLVERS[solver]:
            return ""
        if name in defaults[solver]:
            return f"`{defaults[solver][name]}`"
        return "required" if name in required else "unset"

    lines = [f"| hyperparameter | {' | '.join(SOLVERS)} | meaning |", "|---|---|---|---|---|"]
    names = [name for name in RULES if not name.startswith((*_GROUPS, "_")) and name != "solver"]
    for name in sorted(names, key=list(_MEANINGS).index):
        cells = " | ".join(default(solver, name) for solver in SOLVERS)
        lines.append(f"| `{name}` | {cells} | {_MEANINGS[name]} |")
    for suffix in ("lr", "wd", "init_method", "init_sigma", "init_scale", "init_value"):
        of_groups = [f"{group}_{suffix}" for group in _GROUPS]
        listed = ", ".join(f"`{name}`" for name in of_groups)
        values = [default("adam", name) for name in of_groups]
        shown = values[0] if len(set(values)) == 1 else ", ".join(values)
        meaning = _MEANINGS.get(f"{suffix} of a group") or _MEANINGS[suffix]
        lines.append(f"| {listed} | {shown} | | | {meaning} |")
    return "\n".join(lines) + "\n"


TABLES: dict[str, Callable[[], str]] = {
    "hyperparameters": hyperparameters,
    "operations": operations,
    "parameters": parameters,
}


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
