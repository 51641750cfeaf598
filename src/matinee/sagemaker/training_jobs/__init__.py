"""Training jobs: their requests, channels, processes, checkpoints and results."""
