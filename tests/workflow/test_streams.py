"""Reading ahead of whoever asks, who may still ask when it is over."""

from __future__ import annotations

import io
import threading

from matinee.workflow.streams import Ahead


def test_a_reader_that_comes_too_late_finds_the_end() -> None:
    # As pyarrow's threads do when a file is given up: one left waiting would never let go.
    with Ahead(io.BytesIO(b"text")) as ahead:
        pass
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.extend(ahead), daemon=True)
    reader.start()
    reader.join(10)
    assert not reader.is_alive()
    assert found == []
