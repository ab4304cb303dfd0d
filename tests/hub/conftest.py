"""A hub on this machine, which this process asks instead of the real one."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
from huggingface_hub import constants

from tests.conftest import REVIEWS
from tests.hub.repositories import Files, files_of
from tests.hub.server import Hub, serving

SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@pytest.fixture
def server() -> Iterator[Hub]:
    with serving() as hub:
        yield hub


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """HF_HOME: where the caches and the saved token are."""
    return tmp_path / "home"


@pytest.fixture
def hub(server: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub that this process asks, as with HF_ENDPOINT, HF_HOME and HF_HUB_DISABLE_XET, which are read at import."""
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)
    for module, values in {
        constants: {
            "ENDPOINT": server.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
        },
        datasets.config: {
            "HF_ENDPOINT": server.url,
            "HF_DATASETS_CACHE": home / "datasets",
            "HF_HUB_OFFLINE": False,
        },
    }.items():
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)
    return server


@pytest.fixture
def tiny(tiny_bert: Path) -> Files:
    """The files of a tiny model."""
    return files_of(tiny_bert)


def table(first: int, last: int) -> bytes:
    """Some of the reviews as a CSV file, with the columns text and label."""
    written = io.StringIO()
    with REVIEWS.open(encoding="utf-8", newline="") as file:
        rows = list(itertools.islice(csv.DictReader(file), first, last))
    writer = csv.writer(written)
    writer.writerows([("text", "label"), *((row["text"], row["sentiment"]) for row in rows)])
    return written.getvalue().encode()


def parquet(content: bytes) -> bytes:
    """The same table as a Parquet file."""
    import pyarrow.csv
    import pyarrow.parquet

    written = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(io.BytesIO(content)), written)
    return written.getvalue()


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once."""
    for module in ("huggingface_hub.file_download", "huggingface_hub.utils._http"):
        monkeypatch.setattr(f"{module}.time.sleep", lambda seconds: None)
