"""The algorithm container: SageMaker's contract around `matinee.fm`, as `train` and `serve`.

Started as `python -m matinee.fm.container train|serve`. Everything happens below SAGEMAKER_BASE_DIR
(default /opt/ml). Nothing is imported here, so that a process loads only what its command needs.
"""
