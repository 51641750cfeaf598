"""Writes and reads rows with the SageMaker SDK: `python -m benchmarks.recordio.sdk ROWS RECORDS`.

Run with the Python of an environment that has the SDK. Writes the rows in the file ROWS to the file
RECORDS, and prints the CPU seconds of writing and reading as JSON.
"""

import io
import json
import sys
import time
from pathlib import Path

from sagemaker.amazon.common import read_records, write_spmatrix_to_sparse_tensor

from benchmarks.recordio.data import load


def main() -> None:
    rows, records = map(Path, sys.argv[1:])
    features, labels = load(rows)
    file = io.BytesIO()
    start = time.process_time()
    write_spmatrix_to_sparse_tensor(file, features, labels)
    written = time.process_time()
    file.seek(0)
    assert len(read_records(file)) == len(labels)
    read = time.process_time()
    records.write_bytes(file.getvalue())
    print(json.dumps({"encode": written - start, "decode": read - written}))


if __name__ == "__main__":
    main()
