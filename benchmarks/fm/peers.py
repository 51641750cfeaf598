"""The peers of Factorization Machines, with their versions."""

from benchmarks.environments import Peer

PEERS = {
    "myfm": Peer("myFM 0.4.0", ("myfm==0.4.0", "numpy==2.4.6", "scipy==1.17.1")),
    # Comes as source: compiled with cmake and g++, for the processor at hand.
    "xlearn": Peer("xLearn 0.40a1", ("xlearn==0.40a1", "numpy==2.4.6")),
    # 3 GB with the libraries for graphics cards that its wheel does not start without.
    "torch": Peer("PyTorch 2.15.0", ("torch==2.15.0", "numpy==2.4.6")),
}
"""By the name of the worker in ``benchmarks.fm.workers``. libFM is not in the package index."""
