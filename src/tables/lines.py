"""Reads the lines of a UTF-8 text file, with any line ends; files compressed with gzip are decompressed."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import shlex
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src.errors import UserError

STDIN = Path("-")  # standard input


GZIP = ".gz"  # how the names of packed files end


CHUNK = 1 << 20  # bytes read at a time


LONGEST_LINE = 1 << 24  # characters


LARGEST_RATIO = 200  # of unpacked to packed bytes


SMALLEST = 1 << 16  # bytes; what is smaller than that may unpack as if it had them


FEWEST_ZEROS = 4  # bytes; a file in UTF-16 has more


MOST_ACCENTS = 0.25  # of all bytes, in text with Latin letters


UNUSED = {0x81, 0x8D, 0x8F, 0x90, 0x9D}  # bytes that stand for nothing in Windows-1252


def name_of(path: Path) -> str:
    return "standard input" if path == STDIN else str(path)


def read_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a text file, each ending with a line feed.

    Raises:
        UserError: it is not UTF-8, not text, or a damaged or hostile archive.
        OSError: it cannot be read.
    """
    return split_lines(path, read_text(path))


def split_lines(path: Path, pieces: Iterator[str]) -> Iterator[str]:
    """
    Args:
        path: of the file.
        pieces: its text, as `read_text` gives it.

    Raises:
        UserError: a line is too long.
    """
    rest, count = "", 0
    for text in pieces:
        *whole, rest = (rest + text).split("\n")
        for line in whole:
            count += 1
            _check_length(path, line, count)
            yield f"{line}\n"
        _check_length(path, rest, count + 1)
    if rest:
        yield rest


def _check_length(path: Path, line: str, number: int) -> None:
    if len(line) > LONGEST_LINE:
        raise UserError(
            f"A line of {name_of(path)} may have at most {LONGEST_LINE:,} characters; line {number} has more.\n"
            "Is it another file format with this extension?"
        )


def read_text(path: Path) -> Iterator[str]:
    """Yields the text of a file in chunks, with line feeds as its only line ends.

    Raises:
        UserError: it is not UTF-8, not text, or a damaged or hostile archive.
        OSError: it cannot be read.
    """
    # Old files end their lines with carriage returns alone.
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True)
    size, lines = 0, 1
    if path.suffix.lower() == GZIP:
        _check_archive(path)
    with _opened(path) as file:
        chunk = b"begin"
        while chunk:
            chunk = file.read1(CHUNK)
            size += len(chunk)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                raise _not_utf8(path, error, size, lines) from None
            if "\0" in text:
                raise _no_text(path, chunk, size, lines + text[: text.index("\0")].count("\n"))
            lines += text.count("\n")
            yield text


def _opened(path: Path) -> contextlib.AbstractContextManager[Any]:
    if path == STDIN:
        return contextlib.nullcontext(sys.stdin.buffer)
    return gzip.open(path) if path.suffix.lower() == GZIP else path.open("rb")


def _check_archive(path: Path) -> None:
    """
    Raises:
        UserError: the file is no archive, or unpacks to more than texts do.
    """
    packed, unpacked = path.stat().st_size, 0
    try:
        with gzip.open(path) as file:
            while chunk := file.read1(CHUNK):
                unpacked += len(chunk)
                if unpacked > LARGEST_RATIO * max(packed, SMALLEST):
                    raise UserError(
                        f"{path} must hold texts compressed with gzip; it unpacks from {packed:,} to more than "
                        f"{unpacked:,} bytes, like a zip bomb.\nIf it is none, decompress it yourself: gunzip."
                    )
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(
            f"{path} must be a file compressed with gzip; it is damaged or a renamed file: {error}.\nCompress it again."
        ) from None


def _no_text(path: Path, chunk: bytes, size: int, line: int) -> UserError:
    """
    Args:
        path: of the file.
        chunk: the last bytes that were read.
        size: how many bytes have been read.
        line: of a zero byte.
    """
    wide = _utf16(chunk, size - len(chunk))
    fix = _convert(path, wide) if wide else "Is it another file format with this extension?"
    return UserError(f"{name_of(path)} must be a text file in UTF-8; line {line} holds zero bytes.\n{fix}")


def _not_utf8(path: Path, error: UnicodeDecodeError, size: int, lines: int) -> UserError:
    """
    Args:
        path: of the file.
        error: in the last bytes that were read.
        size: how many bytes have been read.
        lines: how many lines the bytes before these hold, with the one that goes on in them.
    """
    before = error.object[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    line, begin = lines + before.count(b"\n"), size - len(error.object)
    return UserError(
        f"{name_of(path)} must be UTF-8; byte {begin + error.start} on line {line} is not.\n"
        f"{_convert(path, _encoding(error.object, begin))}"
    )


def _encoding(sample: bytes, begin: int) -> str | None:
    """What bytes that are not UTF-8 seem to be; None where that is open.

    Args:
        sample: of a file.
        begin: how many bytes of the file stand before.
    """
    if begin == 0 and sample.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "UTF-32"
    if begin == 0 and sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    if wide := _utf16(sample, begin):
        return wide
    high = [byte for byte in sample if byte >= 0x80]
    # A superset of ISO-8859-1, in whose place it is written: with quotes, dashes and the euro sign.
    return "WINDOWS-1252" if len(high) <= MOST_ACCENTS * len(sample) and not UNUSED.intersection(high) else None


def _utf16(sample: bytes, begin: int) -> str | None:
    """The form of UTF-16 in which these bytes are text, if they are: every second byte of a Latin letter is zero."""
    even, odd = (sample[(place + begin) % 2 :: 2].count(0) for place in (0, 1))
    if even + odd < FEWEST_ZEROS or min(even, odd) * 10 > max(even, odd):
        return None
    return "UTF-16BE" if even > odd else "UTF-16LE"


def _convert(path: Path, encoding: str | None) -> str:
    packed = path.suffix.lower() == GZIP
    kind = Path(path.stem).suffix if packed else path.suffix
    file = "FILE" if path == STDIN else shlex.quote(str(path))
    read = (
        f"gunzip -c {file} | iconv -f {encoding or 'ENCODING'} -t UTF-8"
        if packed
        else (f"iconv -f {encoding or 'ENCODING'} -t UTF-8 {file}")
    )
    if encoding is None:
        such = "from its encoding, such as WINDOWS-1251 or GB18030"
        return f"Save it as UTF-8, or convert it {such}: {read} > converted{kind}"
    other = "\nIf letters are wrong afterwards, it has another encoding, such as WINDOWS-1250 (Central European)."
    return f"Save it as UTF-8, or convert it: {read} > converted{kind}{other if encoding == 'WINDOWS-1252' else ''}"
