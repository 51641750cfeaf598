"""What MXNet does in the tests, run with its own interpreter; NumPy 1.23, nothing of matinee.

``score MODEL RECORDS SCORES`` loads an artifact as public code does that extends SageMaker's
Factorization Machines, and scores records. ``save MODEL COPY`` loads one and saves its network and
parameters, as MXNet writes them, in a ZIP of the same kind. Each line of standard input is such
words as a JSON list, answered by a line when it is done; MXNet takes seconds to import.
"""

import json
import sys
import tempfile
import zipfile
from pathlib import Path

import mxnet
import numpy as np


def load(model: Path, folder: Path) -> mxnet.module.Module:
    with zipfile.ZipFile(model) as members:
        (folder / "model-symbol.json").write_bytes(members.read("symbol.json"))
        (folder / "model-0000.params").write_bytes(members.read("params"))
    prefix = str(folder / "model")
    return mxnet.module.Module.load(prefix, 0, False, label_names=["out_label"])


def score(module: mxnet.module.Module, records: Path, scores: Path) -> None:
    given = np.load(records)
    shape = tuple(given["shape"].tolist())
    parts = (given["values"], given["keys"], given["starts"])
    data = mxnet.nd.sparse.csr_matrix(parts, shape=shape, dtype="float32")
    labels = mxnet.nd.zeros((shape[0], 1))
    batches = mxnet.io.NDArrayIter(
        data, {"out_label": labels}, batch_size=shape[0], last_batch_handle="discard"
    )
    module.bind(
        data_shapes=batches.provide_data, label_shapes=batches.provide_label, for_training=False
    )
    np.save(scores, module.predict(batches).asnumpy().ravel())


def save(module: mxnet.module.Module, folder: Path, copy: Path) -> None:
    prefix = str(folder / "copy")
    module.bind(data_shapes=[("data", (1, module._arg_params["v"].shape[0]))], for_training=False)
    module.save_checkpoint(prefix, 1)
    with zipfile.ZipFile(copy, "w") as members:
        members.write(f"{prefix}-symbol.json", "symbol.json")
        members.write(f"{prefix}-0001.params", "params")


def main(word: str, model: str, *others: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        module = load(Path(model), Path(scratch))
        if word == "score":
            records, scores = map(Path, others)
            score(module, records, scores)
        else:
            (copy,) = map(Path, others)
            save(module, Path(scratch), copy)


if __name__ == "__main__":
    for line in sys.stdin:
        main(*json.loads(line))
        print("done", flush=True)
