"""RecordIO-protobuf, the training and inference format of SageMaker's built-in algorithms.

`encode` writes the bytes the SageMaker Python SDK writes; `decode` reads any legal file of the
format and refuses a malformed one with the record and byte offset, whole or, by `decode_blocks`, in
bounded memory. NumPy does the work for many records at once; protobuf itself isn't needed.
"""

from matinee.recordio.framing import RecordIOError, frame, frames
from matinee.recordio.layout import Block
from matinee.recordio.predictions import decode_predictions, encode_predictions
from matinee.recordio.reader import Records, decode, decode_blocks, decode_stream
from matinee.recordio.writer import encode, encode_one_hot

__all__ = [
    "Block",
    "RecordIOError",
    "Records",
    "decode",
    "decode_blocks",
    "decode_predictions",
    "decode_stream",
    "encode",
    "encode_one_hot",
    "encode_predictions",
    "frame",
    "frames",
]
