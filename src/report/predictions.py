"""Writes what a run predicts for each text of a split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from src.arrays import NDArray
from src.data.split import Split
from src.data.texts import as_columns
from src.files.atomic import write_atomic
from src.runs.folder import RunFolder


def write_predictions(folder: RunFolder, name: str, split: Split, columns: Mapping[str, Any]) -> None:
    """Writes the texts of a split with these columns into `predictions/NAME.parquet`."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"row": split.rows, **as_columns(split.texts), **columns})
    content = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, content)
    write_atomic(folder.file("predictions", f"{name}.parquet"), content.getvalue().to_pybytes())


def as_lists(values: NDArray[np.float64]) -> Any:
    """Returns a matrix as a column of lists, without creating a Python object per number."""
    import pyarrow

    starts = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pyarrow.ListArray.from_arrays(starts, values.reshape(-1))
