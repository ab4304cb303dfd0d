"""`NDArray`: a NumPy array, of which only the type of its elements is told."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

Scalar = TypeVar("Scalar", bound=np.generic)

# As `numpy.typing.NDArray` was below NumPy 2.5. What it is since then, jaxtyping cannot give a shape.
NDArray = np.ndarray[tuple[Any, ...], np.dtype[Scalar]]
