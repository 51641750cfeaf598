"""The local stack: SeaweedFS, the local SageMaker and Airflow as processes of one person's machine.

Everything listens on loopback and keeps its state in one folder (`Home`). `Stack` starts, watches
and stops the three; it never touches a process that it cannot prove to be its own.
"""
