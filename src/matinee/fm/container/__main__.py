"""The container's entry point: `train` or `serve`, the words SageMaker starts an image with."""

import os
import sys
from pathlib import Path

USAGE = "usage: python -m matinee.fm.container train|serve"


def main(arguments: list[str]) -> int:
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    if arguments == ["train"]:
        from matinee.fm.container import train

        return train.main(base, os.environ)
    if arguments == ["serve"]:
        from matinee.fm.container import serve

        return serve.main(base, os.environ)
    print(USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
