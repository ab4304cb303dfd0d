"""Reads the text of a file in its encoding: UTF-8 unless a byte order mark or the user says otherwise."""

from __future__ import annotations

import codecs
import io
import logging
from collections.abc import Iterator
from pathlib import Path

from src.errors import UserError
from src.tables import opening
from src.tables.content import Layout
from src.tables.opening import name_of, open_bytes

log = logging.getLogger(__name__)

# Those of UTF-32 come first, since one of them begins with one of UTF-16.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    codecs.BOM_UTF8: "utf-8",
}


LINE_FEED = "\n"


MARK = "\ufeff"  # the byte order mark, decoded


FEWEST_ZEROS = 4  # bytes; a file in UTF-16 has more


MOST_ACCENTS = 0.25  # of all bytes, in text with Latin letters


UNUSED = {0x81, 0x8D, 0x8F, 0x90, 0x9D}  # bytes that stand for nothing in Windows-1252


def read_text(path: Path, layout: Layout) -> Iterator[str]:
    """Yields the text of a file in chunks, with line feeds as its only line ends. A byte order mark decides the
    encoding, then `layout`; otherwise it is UTF-8.

    Raises:
        UserError: it is not in this encoding, not text, or a damaged or hostile archive.
        OSError: it cannot be read.
    """
    with open_bytes(path) as file:
        chunk = file.read1(opening.CHUNK)
        while 0 < len(chunk) < len(codecs.BOM_UTF32_LE) and (more := file.read1(opening.CHUNK)):
            chunk += more
        decoder = _Decoder(path, layout, chunk)
        while chunk:
            yield decoder.decode(chunk)
            chunk = file.read1(opening.CHUNK)
        yield decoder.decode(b"", final=True)


class _Decoder:
    """Decodes a file chunk by chunk, and knows where each is.

    Args:
        path: of the file.
        layout: of the file.
        begin: its first bytes.
    """

    def __init__(self, path: Path, layout: Layout, begin: bytes) -> None:
        self.path, self.layout = path, layout
        marked = next((name for mark, name in MARKS.items() if begin.startswith(mark)), None)
        self.encoding = marked or layout.encoding or "utf-8"
        if marked and marked != "utf-8":
            log.info("%s: read as %s, as its byte order mark says", name_of(path), marked.upper())
        # Old files end their lines with carriage returns alone.
        self.decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(self.encoding)(), translate=True)
        self.size, self.lines = 0, 1  # bytes so far, and lines with the one that has begun

    def decode(self, chunk: bytes, final: bool = False) -> str:
        """
        Raises:
            UserError: it is not in the encoding of the file, or not text.
        """
        first = self.size == 0
        self.size += len(chunk)
        try:
            text: str = self.decoder.decode(chunk, final=final)
        except UnicodeError as error:
            raise self._undecodable(error, chunk) from None
        if "\0" in text:
            raise self._no_text(chunk, self.lines + text[: text.index("\0")].count("\n"))
        self.lines += text.count("\n")
        return text.removeprefix(MARK) if first else text

    @property
    def _key(self) -> str:
        return f"{self.layout.section}encoding"

    def _no_text(self, chunk: bytes, line: int) -> UserError:
        wide = _utf16(chunk, self.size - len(chunk))
        other = "Is it another file format with this extension?"
        fix = f"It seems to be {wide}: {self._key}={wide}." if wide else other
        return UserError(
            f"{name_of(self.path)} must be a text file in {self.encoding.upper()}; line {line} holds zero bytes.\n{fix}"
        )

    def _undecodable(self, error: UnicodeError, chunk: bytes) -> UserError:
        """
        Args:
            error: in the bytes that were read last.
            chunk: these bytes.
        """
        read, start = (error.object, error.start) if isinstance(error, UnicodeDecodeError) else (chunk, 0)
        before = read[:start].decode(self.encoding, "replace").replace("\r\n", "\n").replace("\r", "\n")
        begin = self.size - len(read)
        shown = f" (0x{read[start]:02X})" if start < len(read) else ""
        return UserError(
            f"{name_of(self.path)} must be {self.encoding.upper()}; byte {begin + start} on line "
            f"{self.lines + before.count(LINE_FEED)} is not{shown}.\n{self._advice(read, begin)}"
        )

    def _advice(self, sample: bytes, begin: int) -> str:
        """
        Args:
            sample: bytes that are not in the encoding of the file.
            begin: how many bytes of the file stand before.
        """
        if self.encoding != "utf-8":
            return f"It may have another encoding, such as {self._key}=utf-8, or be damaged."
        found = _guess(sample, begin)
        if found is None:
            return f"Save it as UTF-8, or give its encoding, such as windows-1251 or gb18030: {self._key}=…"
        other = " If letters are wrong then, it has another, such as windows-1250 (Central European)."
        return f"It can be read as {found}: {self._key}={found}.{other if found == 'windows-1252' else ''}"


def _guess(sample: bytes, begin: int) -> str | None:
    """What bytes that are not UTF-8 seem to be; None where that is open.

    Args:
        sample: of a file.
        begin: how many bytes of the file stand before.
    """
    if wide := _utf16(sample, begin):
        return wide
    high = [byte for byte in sample if byte >= 0x80]
    # A superset of ISO-8859-1, in whose place it is written: with quotes, dashes and the euro sign.
    return "windows-1252" if len(high) <= MOST_ACCENTS * len(sample) and not UNUSED.intersection(high) else None


def _utf16(sample: bytes, begin: int) -> str | None:
    """The form of UTF-16 in which these bytes are text, if they are: every second byte of a Latin letter is zero."""
    even, odd = (sample[(place + begin) % 2 :: 2].count(0) for place in (0, 1))
    if even + odd < FEWEST_ZEROS or min(even, odd) * 10 > max(even, odd):
        return None
    return "utf-16-be" if even > odd else "utf-16-le"
