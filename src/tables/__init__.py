"""Reads files, folders and hub data sets as tables, and writes tables to files."""

__all__ = [
    "columnar",
    "content",
    "delimited",
    "encodings",
    "folders",
    "lines",
    "opening",
    "patterns",
    "reading",
    "records",
    "saved_datasets",
    "sources",
    "splits",
    "tables",
    "workbooks",
    "writing",
]
