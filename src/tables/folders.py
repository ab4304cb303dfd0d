"""Reads the splits in a folder of files, in the layouts that users and the hub use."""

from __future__ import annotations

import re
from pathlib import Path

from src.config.data import Data
from src.errors import UserError, listed
from src.tables.content import Layout
from src.tables.reading import kind_of, kinds, stem
from src.tables.saved_datasets import read_saved
from src.tables.splits import find_splits, part_named
from src.tables.tables import Table, join, read_table

INNER = "data"  # the folder in which repositories on the hub keep their files


QUIET = re.compile(r"[._].*|(readme|licen[cs]e|citation|changelog|dataset_infos?)\b.*", re.IGNORECASE)


def read_folder(path: Path, cfg: Data) -> dict[str, Table]:
    """Returns the tables in a folder, and in its subfolder `data`, by split.

    Raises:
        UserError: there is no training split, or a split cannot be read or is ambiguous.
        OSError: the folder cannot be read.
    """
    entries = {file.name: file for file in sorted(path.iterdir())}
    if INNER in entries and entries[INNER].is_dir() and not _is_saved(entries[INNER]):
        entries |= {f"{INNER}/{file.name}": file for file in sorted(entries.pop(INNER).iterdir())}
    entries = {name: file for name, file in entries.items() if not QUIET.fullmatch(file.name)}
    readable = {name: file for name, file in entries.items() if kind_of(file) or _is_saved(file)}
    rest = [name for name in entries if name not in readable]
    splits = find_splits(dict(zip(readable, map(stem, readable.values()), strict=True)), rest, str(path), cfg)
    if "train" not in splits:
        present = listed(sorted(entries)) or "nothing"
        raise UserError(
            f"A data folder must hold a train file ({kinds()}), and may hold validation and test files; {path} holds "
            f"{present}.\nRename the files, or give a file or folder in it: data.path={path}/NAME."
        )
    for name in rest:
        part = part_named(name.rpartition("/")[2].partition(".")[0])
        if part and part.split not in (*splits, *cfg.ignore_splits):
            raise _unreadable(part.split, path, name)
    return {split: _join([_read(readable[n], cfg) for n in names], path, names) for split, names in splits.items()}


def _unreadable(split: str, path: Path, name: str) -> UserError:
    return UserError(
        f"The {split} split must be one of {kinds()}; {path} holds {name}.\nSave it in one of these formats, "
        f"rename it, or take {split} from train: data.ignore_splits=[{split}]"
    )


def _is_saved(path: Path) -> bool:
    """Whether a folder holds one split as `datasets` saves it."""
    return (path / "state.json").exists() and (path / "dataset_info.json").exists()


def _read(path: Path, cfg: Data) -> Table:
    if _is_saved(path):
        return read_saved(path, cfg)["train"]
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} must be a file; it is a device, a pipe or a socket.\nWrite it to a file first.")
    return read_table(path, Layout.of(cfg))


def _join(tables: list[Table], path: Path, names: list[str]) -> Table:
    return tables[0] if len(tables) == 1 else join(tables, f"{path}/{names[0]} to {names[-1]}")
