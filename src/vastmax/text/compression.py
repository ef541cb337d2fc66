"""Decompress files, recognised by their first bytes, on a thread that reads ahead."""

from __future__ import annotations

import bz2
import io
import lzma
import queue
import sys
import threading
import zlib
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, NamedTuple

from vastmax.errors import CorpusError, InputError

__all__ = ["Unpacked", "codec_of"]

READ = 1 << 17
SMALL_READ = 1 << 14
Zlib = type(zlib.decompressobj())
PIECE = 1 << 20  # bytes decompressed at once at most, so that a decompression bomb cannot fill memory
AHEAD = 8  # pieces decompressed ahead of the reader


class Codec(NamedTuple):
    """A compression format; `load` returns its decoder factory and the exceptions that decoders raise."""

    ending: str
    magic: bytes
    load: Callable[[], tuple[Callable[[], Any], tuple[type[Exception], ...]]]


def _load_zstd() -> tuple[Callable[[], Any], tuple[type[Exception], ...]]:
    if sys.version_info >= (3, 14):
        from compression import zstd  # pyright: ignore[reportMissingImports]

        return zstd.ZstdDecompressor, (zstd.ZstdError,)
    try:
        import zstandard
    except ImportError:
        raise InputError("reading .zst files needs the package zstandard: pip install 'vastmax[zstd]'.") from None
    return lambda: zstandard.ZstdDecompressor().decompressobj(), (zstandard.ZstdError,)


CODECS = [
    Codec(".gz", b"\x1f\x8b", lambda: (partial(zlib.decompressobj, zlib.MAX_WBITS | 16), (zlib.error,))),
    Codec(".bz2", b"BZh", lambda: (bz2.BZ2Decompressor, (OSError, ValueError))),
    Codec(".xz", b"\xfd7zXZ\x00", lambda: (lzma.LZMADecompressor, (lzma.LZMAError,))),
    Codec(".zst", b"\x28\xb5\x2f\xfd", _load_zstd),
]


def codec_of(head: bytes, name: str) -> Codec | None:
    """Return the codec that the first bytes of a file identify, or None for uncompressed text.

    CorpusError if the file ends within the magic number of the format that its extension claims.
    """
    for codec in CODECS:
        # Text may start with "BZh"; in a bzip2 file a digit and a block or end-of-stream magic follow.
        if head.startswith(codec.magic) and (codec.ending != ".bz2" or _is_bzip2(head)):
            return codec
        if name.endswith(codec.ending) and head and codec.magic.startswith(head):
            raise CorpusError(f"{name} is a truncated {codec.ending} file: fetch or write it again.")
    return None


def _is_bzip2(head: bytes) -> bool:
    blocks = (b"1AY&SY", b"\x17rE8P\x90")
    return head[3:4].isdigit() and any(head[4:10] == block[: len(head[4:10])] for block in blocks)


class Unpacked(io.RawIOBase):
    """A raw stream of the decompressed bytes of a file.

    `head` holds the bytes of `packed` that were already read; errors name the file by `name`.
    """

    def __init__(self, packed: io.RawIOBase | io.BufferedIOBase, head: bytes, codec: Codec, name: str) -> None:
        self._packed, self._head, self._codec, self._name = packed, head, codec, name
        self._rest = memoryview(b"")
        self._pieces: queue.Queue[bytes | BaseException | None] = queue.Queue(AHEAD)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="vastmax-unpack", daemon=True)
        self._thread.start()

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer` with decompressed bytes and return their number; 0 at the end."""
        if not self._rest:
            piece = self._pieces.get() if not self._stopped else None
            if piece is None or isinstance(piece, BaseException):
                self._stopped = True
                if piece is not None:
                    raise piece
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        """Stop the thread and discard the pieces that it has decompressed."""
        if not self.closed:
            self._stopped = True
            while self._thread.is_alive():
                try:
                    self._pieces.get(timeout=0.05)  # makes room, as the thread may be blocked on a full queue
                except queue.Empty:
                    break  # the thread waits for its input, which the owner closes
        super().close()

    def _run(self) -> None:
        try:
            for piece in self._unpack():
                if self._stopped:
                    return
                if piece:  # decoders may need more input first; an empty piece would read as the end
                    self._pieces.put(piece)
            self._pieces.put(None)
        except BaseException as error:
            self._pieces.put(error)

    def _unpack(self) -> Iterator[bytes]:
        make, errors = self._codec.load()
        data, decoder = self._head, make()
        started = False  # whether the decoder has had input: a file may end after any of its streams
        try:
            while True:
                data = data or self._packed.read(READ)
                if not data:
                    break
                if decoder.eof:
                    decoder, started = make(), False
                if not started:
                    data = data.lstrip(b"\0")  # padding between streams
                    if not data:
                        continue
                started = True
                data = yield from _decode(decoder, data)
        except errors as error:
            raise CorpusError(
                f"{self._name} is damaged, its {self._codec.ending} data cannot be decompressed ({error}): "
                "fetch or write it again."
            ) from error
        if started and not decoder.eof:
            raise CorpusError(
                f"{self._name} is truncated, its {self._codec.ending} data ends too early: fetch or write it again."
            )


def _decode(decoder: Any, data: bytes) -> Generator[bytes, None, bytes]:
    """Yield `data` decompressed, at most PIECE bytes at once if the decoder can limit it; return unused bytes."""
    if isinstance(decoder, Zlib):
        while True:
            piece = decoder.decompress(data, PIECE)
            yield piece
            data = decoder.unconsumed_tail
            if decoder.eof or (not data and len(piece) < PIECE):
                return decoder.unused_data
    if hasattr(decoder, "needs_input"):  # bz2, lzma, compression.zstd
        yield decoder.decompress(data, PIECE)
        while not decoder.eof and not decoder.needs_input:
            yield decoder.decompress(b"", PIECE)
        return decoder.unused_data if decoder.eof else b""
    for at in range(0, len(data), SMALL_READ):  # zstandard cannot limit its output
        yield decoder.decompress(data[at : at + SMALL_READ])
        if decoder.eof:
            return decoder.unused_data + data[at + SMALL_READ :]
    return b""
