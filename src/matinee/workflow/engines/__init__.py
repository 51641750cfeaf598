"""Where the definition of `matinee.workflow.definition` runs: DuckDB, Spark, Athena or Glue."""
