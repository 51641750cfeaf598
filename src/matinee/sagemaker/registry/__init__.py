"""What models come from: the registry, experiments, lineage and the search over them."""
