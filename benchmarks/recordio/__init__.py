"""How fast RecordIO-protobuf is written and read, beside the SageMaker SDK and protobuf itself."""
