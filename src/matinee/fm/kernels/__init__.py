"""The compiled loops: Numba functions over bare arrays, called through ``matinee.fm.native``.

A kernel is a function marked with ``@kernel`` whose type hints are its signature: arrays are bare
pointers to C-contiguous data, nothing is bounds-checked, nothing is raised. Importing a module of
this package loads a compiler; nothing else in ``matinee`` imports one.
"""
