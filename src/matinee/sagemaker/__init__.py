"""The local SageMaker: AWS's own API on this machine, real jobs behind it.

Start it with ``python -m matinee.sagemaker``; clients reach it by ``AWS_ENDPOINT_URL``. Nothing is
imported here, so that a job's process, which lives in this package too, starts at once.
"""
