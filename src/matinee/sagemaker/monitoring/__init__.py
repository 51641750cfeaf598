"""Logs and metrics of jobs and endpoints, as CloudWatch shows them."""
