"""Feeds bytes to the table readers, led by the code that they reach, until one raises what is not a UserError, hangs or
takes a gigabyte. pytest does not collect it: it ends by the clock.

    python -m tests.tables.fuzz_readers [SECONDS [KIND …]]      of each kind; there are those of KINDS
"""

from __future__ import annotations

import contextlib
import gzip
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import atheris
from omegaconf import OmegaConf

with atheris.instrument_imports(include=["src", "openpyxl", "zipfile", "xml", "defusedxml", "csv", "json"]):
    from src.config.data import Data
    from src.config.folder import CONF
    from src.data import labels
    from src.errors import UserError
    from src.tables.tables import read_table
    from tests.tables import files

SECONDS = 70
LIMITS = ("-rss_limit_mb=1000", "-timeout=10", "-max_len=20000", "-print_final_stats=1", "-verbosity=0")
BOOK = "xl/workbook.xml"
# The ending of the file, what it begins with, and which file of a workbook the bytes are, instead of the whole: changes
# to an archive itself rarely get past its checksums.
KINDS: dict[str, tuple[str, Sequence[bytes], str | None]] = {
    "csv": ("csv", [files.csv(), files.csv().replace(b"\n", b"\r\n"), b'text,label\n"a ""b""\n",c\n'], None),
    "tsv": ("tsv", [files.csv().replace(b",", b"\t")], None),
    "jsonl": (
        "jsonl",
        [files.jsonl(), b'{"text": "\\ud83d\\ude00", "label": [1, 2.5e3, true, null, {"a": "b"}]}'],
        None,
    ),
    "json": ("json", [files.json_list(), b"\xef\xbb\xbf [\r\n]"], None),
    "zst": ("csv.zst", [files.zstandard(files.csv())], None),
    "arrow": ("arrow", [files.arrow(), files.arrow(stream=True)], None),
    "gz": ("csv.gz", [gzip.compress(files.csv())], None),
    "txt": ("txt", [b"\xef\xbb\xbfone\r\n\r\ntwo\n"], None),
    "xlsx": ("xlsx", [files.xlsx()], None),
    "sheet": ("xlsx", [files.entries()[files.SHEET]], files.SHEET),
    "book": ("xlsx", [files.entries()[BOOK]], BOOK),
    "parquet": ("parquet", [files.parquet()], None),
}


def fuzz(kind: str, seconds: int) -> None:
    """Never returns: the fuzzer ends the process, with 0 if nothing was found."""
    suffix, seeds, part = KINDS[kind]
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{kind}-"))
    (folder / "seeds").mkdir()
    for number, seed in enumerate(seeds):
        (folder / "seeds" / str(number)).write_bytes(seed)
    path = folder / f"a.{suffix}"
    values: Any = OmegaConf.to_container(OmegaConf.load(CONF / "data" / "table.yaml"))
    cfg = Data.model_validate({**values, "path": str(path)})

    def once(content: bytes) -> None:
        path.write_bytes(files.replaced(part, content) if part else content)
        with contextlib.suppress(UserError):
            table = read_table(path)
            table.texts("text", "data.text")
            sets = labels.label_sets(table, cfg)
            space = labels.label_space(sets, labels.is_multilabel(sets, table.columns["label"], cfg), cfg)
            labels.encode(sets, space, table)

    options = [f"-max_total_time={seconds}", f"-artifact_prefix={folder}/found-", *LIMITS]
    atheris.Setup([sys.argv[0], str(folder / "seeds"), *options], once)
    atheris.Fuzz()


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["--one"]:
        fuzz(arguments[1], int(arguments[2]))
    seconds = arguments[0] if arguments else str(SECONDS)
    command = [sys.executable, "-m", "tests.tables.fuzz_readers", "--one"]
    ended = {kind: subprocess.run([*command, kind, seconds], check=False) for kind in arguments[1:] or KINDS}
    found = [kind for kind, process in ended.items() if process.returncode]
    print(f"Found something in: {', '.join(found)}" if found else "Nothing found")
    return len(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
