"""Field numbers of the protobuf package `aialgs.data`, as the tag bytes that stand in a record.

    Record        1 map<string, Value> features   2 map<string, Value> label   3..5 strings
    Value         2 Float32Tensor   3 Float64Tensor   7 Int32Tensor   9 Bytes  (oneof)
    each Tensor   1 values   2 keys   3 shape  (packed)

Source: SageMaker Developer Guide, "Common data formats for training".
"""

VALUES_NAME = b"values"
# The key of a map entry: field 1, six bytes, "values".
VALUES_KEY = b"\x0a\x06" + VALUES_NAME
ENTRY_VALUE_TAG = 0x12

FEATURES_TAG = 0x0A
LABEL_TAG = 0x12

FLOAT32_TAG = 0x12
FLOAT64_TAG = 0x1A
INT32_TAG = 0x3A
BYTES_TAG = 0x4A

VALUES_TAG = 0x0A
KEYS_TAG = 0x12
SHAPE_TAG = 0x1A
