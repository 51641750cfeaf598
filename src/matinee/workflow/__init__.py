"""The recommender's steps: plain functions from S3 URIs to S3 URIs, speaking boto3 only.

Each step is `step(settings, inputs) -> outputs` with JSON-serialisable inputs and outputs, so that
a notebook, an Airflow task or a test calls it alike. No step knows whether AWS or a local server
answers.
"""
