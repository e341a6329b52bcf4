"""A stream as a file: what Python's `io`, `csv`, `gzip` and pyarrow read from."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wendelin.storage.streams.stream import ByteStream


class StreamReader(io.RawIOBase):
    """Reads a stream. Positions are offsets of the stream; one that was dropped raises `DroppedError`."""

    def __init__(self, stream: ByteStream, at: int) -> None:
        super().__init__()
        self._stream = stream
        self._at = at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._refuse_closed()
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset; from where it counts as `io` has it. Behind the end there is nothing to read yet."""
        self._refuse_closed()
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._stream.stop}
        if whence not in base:
            raise ValueError(f"whence={whence}: use 0, 1 or 2")
        if base[whence] + offset < 0:
            raise ValueError(f"offset {base[whence] + offset} is negative")
        self._at = base[whence] + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there are bytes; how many they were, 0 at the end."""
        self._refuse_closed()
        target = memoryview(buffer).cast("B")
        some = min(len(target), max(self._stream.stop - self._at, 0))
        if some:
            target[:some] = self._stream.view(self._at, self._at + some)
            self._at += some
        return some

    def readall(self) -> bytes:
        """All bytes up to the end, as it is now."""
        data = self._stream.read(self._at) if self._at < self._stream.stop else b""
        self._at += len(data)
        return data

    def _refuse_closed(self) -> None:
        if self.closed:
            raise ValueError("this file was closed: stream.open() gives another one")
