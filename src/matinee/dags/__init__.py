"""The workflow as an Airflow DAG; this folder is a dags folder for Airflow."""
