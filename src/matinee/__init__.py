"""matinee: a recommender end to end with SageMaker and Airflow, on any machine."""
