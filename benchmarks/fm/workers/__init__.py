"""One program a system: each trains in a process of its own, on the same arrays.

A peer's program runs with the peer's interpreter and so may import NumPy, the peer and
``benchmarks.fm.workers.task``, nothing else of this project.
"""
