"""The container's entry point: `train` or `serve`, the words SageMaker starts an image with.

Which algorithm trains is the image's own choice, before those words; a model of either is served
the same way.
"""

import os
import sys
from pathlib import Path

USAGE = (
    "usage: python -m matinee.fm.container "
    "[--algorithm factorization-machines|matinee-fm] train|serve"
)


def main(arguments: list[str]) -> int:
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    match arguments:
        case ["--algorithm", ("factorization-machines" | "matinee-fm") as algorithm, word]:
            pass
        case [word]:
            algorithm = "factorization-machines"
        case _:
            word = ""
    if word == "train":
        from matinee.fm.container import train

        return train.main(base, os.environ, algorithm)
    if word == "serve":
        from matinee.fm.container import serve

        return serve.main(base, os.environ)
    print(USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
