"""Compile all kernels now: `python -m matinee.fm.kernels`, before many processes start at once.

An image does so while it is built, so that no job of it waits for a compiler. What is compiled
already is left as it is.
"""

import importlib
import logging
import pkgutil

from matinee.fm import kernels, native


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for module in pkgutil.iter_modules(kernels.__path__):
        if module.name == "__main__":
            continue
        imported = importlib.import_module(f"{kernels.__name__}.{module.name}")
        if any(getattr(value, "is_kernel", False) for value in vars(imported).values()):
            native.kernels(module.name)


if __name__ == "__main__":
    main()
