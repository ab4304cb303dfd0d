"""Reads files, folders and hub data sets as tables, and writes tables to files."""

__all__ = [
    "content",
    "delimited",
    "folders",
    "lines",
    "reading",
    "records",
    "saved_datasets",
    "sources",
    "splits",
    "tables",
    "workbooks",
    "writing",
]
