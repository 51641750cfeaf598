"""The workflow as an AWS Step Functions state machine, and a way to run it on this machine."""
