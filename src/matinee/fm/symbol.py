"""The network of a Factorization Machine as MXNet's symbol JSON.

The graph is the model equation in operators that every MXNet 1.x knows, with the input ``data``,
the arguments ``v``, ``w1_weight`` and ``w0_weight`` and the output ``out``. Of a graph read back
only the predictor type matters; one that does not end in a regression output is refused.
"""

import json
from typing import Any

from matinee.fm.errors import ArtifactError
from matinee.fm.hyperparameters import PredictorType

_OUTPUTS: dict[str, PredictorType] = {
    "LinearRegressionOutput": "regressor",
    "LogisticRegressionOutput": "binary_classifier",
}
_MXNET_VERSION = 10300


class _Graph:
    """Nodes in topological order; each is named and takes the nodes named before it."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self._indices: dict[str, int] = {}

    def add(self, name: str, operator: str, *inputs: str, **attributes: str) -> None:
        node: dict[str, Any] = {"op": operator, "name": name}
        if attributes:
            node["attrs"] = attributes
        node["inputs"] = [[self._indices[given], 0, 0] for given in inputs]
        self._indices[name] = len(self.nodes)
        self.nodes.append(node)


def dumps(feature_dim: int, num_factors: int, predictor_type: PredictorType) -> bytes:
    """Return the network as JSON; the same arguments give the same bytes."""
    graph = _Graph()
    graph.add("data", "null")
    # Module.bind infers no shapes from data alone: arguments carry theirs.
    graph.add("w1_weight", "null", __shape__=f"({feature_dim}, 1)")
    graph.add("w0_weight", "null", __shape__="(1, 1)")
    graph.add("v", "null", __shape__=f"({feature_dim}, {num_factors})")
    graph.add("linear", "dot", "data", "w1_weight")
    graph.add("affine", "broadcast_add", "linear", "w0_weight")
    graph.add("sums", "dot", "data", "v")
    graph.add("squared_sums", "square", "sums")
    graph.add("square_of_sums", "sum", "squared_sums", axis="1", keepdims="True")
    graph.add("squared_data", "square", "data")
    graph.add("squared_v", "square", "v")
    graph.add("norms", "sum", "squared_v", axis="1", keepdims="True")
    graph.add("sum_of_squares", "dot", "squared_data", "norms")
    graph.add("twice_pairs", "elemwise_sub", "square_of_sums", "sum_of_squares")
    graph.add("pairs", "_mul_scalar", "twice_pairs", scalar="0.5")
    graph.add("score", "elemwise_add", "affine", "pairs")
    graph.add("out_label", "null")
    output = next(name for name, kind in _OUTPUTS.items() if kind == predictor_type)
    graph.add("out", output, "score", "out_label")
    nodes = graph.nodes
    document = {
        "nodes": nodes,
        "arg_nodes": [index for index, node in enumerate(nodes) if node["op"] == "null"],
        "node_row_ptr": list(range(len(nodes) + 1)),
        "heads": [[len(nodes) - 1, 0, 0]],
        "attrs": {"mxnet_version": ["int", _MXNET_VERSION]},
    }
    return json.dumps(document, indent=2).encode()


def predictor_type(document: Any) -> PredictorType:
    """Return what kind of model a network (parsed JSON) predicts with, from its output operator.

    Raises
    ------
    ArtifactError
        If the network does not end in LinearRegressionOutput or LogisticRegressionOutput.
    """
    try:
        operator = document["nodes"][document["heads"][0][0]]["op"]
    except (IndexError, KeyError, TypeError) as error:
        raise ArtifactError("'symbol.json' is not an MXNet network") from error
    if not isinstance(operator, str) or operator not in _OUTPUTS:
        raise ArtifactError(f"the network ends in {operator!r}, not in one of {sorted(_OUTPUTS)}")
    return _OUTPUTS[operator]
