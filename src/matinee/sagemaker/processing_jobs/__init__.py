"""Processing jobs: their requests and their processes."""
