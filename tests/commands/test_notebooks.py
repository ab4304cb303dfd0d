"""The notebooks run from top to bottom, here on a tiny backbone and few reviews."""

from __future__ import annotations

import ast
import copy
import inspect
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from src.config.folder import CONF

ROOT = CONF.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_gives_functions_the_arguments_that_they_take(file: Path) -> None:
    cells = [cell.source for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
    code = ast.parse("\n".join(line for source in cells for line in source.splitlines() if not line.startswith("%")))
    names: dict[str, object] = {}
    imports: list[ast.stmt] = [line for line in code.body if isinstance(line, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), file.name, "exec"), names)
    calls = [node for node in ast.walk(code) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    for call in (call for call in calls if getattr(names.get(call.func.id), "__module__", "").startswith("src.")):
        given = {keyword.arg: None for keyword in call.keywords if keyword.arg}
        inspect.signature(names[call.func.id]).bind(*call.args, **given)


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs_twice_in_one_process(
    file: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # as an installation has it
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    book = nbformat.read(file, as_version=4)
    given = next(cell for cell in book.cells if "parameters" in cell.metadata.get("tags", ()))
    small = [f"backbone.name={tiny_bert}", "data.limit=60", "data.max_length=32", "trainer=cpu", "trainer.max_epochs=1"]
    given.source = f"overrides = {[*small, f'cache={tmp_path}']!r}\nruns = {str(tmp_path / 'runs')!r}"
    book.cells += [nbformat.from_dict({**cell, "id": f"{cell.id}-again"}) for cell in copy.deepcopy(book.cells)]
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(file.parent)}}).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_small_and_was_run(file: Path) -> None:
    assert file.stat().st_size < 1_000_000
    cells = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)
    written = str([cell.outputs for cell in cells])
    assert "Epoch 1 of " in written
    assert not re.findall(r"/(?:home|root|tmp|usr)/|site-packages", re.sub("'image/png': '[^']*'", "", written))
