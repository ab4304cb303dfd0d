"""README and documentation keep what they say: commands compose, links lead somewhere, every choice is described."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import get_method

from src import activations
from src.config import trainer_switches
from src.config.folder import CONF
from src.freezing import Stage

ROOT = CONF.parent
DOCS = ROOT / "docs"
sys.path.append(str(DOCS / "_extensions"))

import config_reference  # noqa: E402

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "benchmarks/README.md")),
    *sorted(DOCS.glob("*.md")),
]
CONTENT = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
README = CONTENT["README.md"]
EXAMPLES = ("conf/data/tickets.yaml", "conf/logger/comet.yaml")  # files that a user may add
STRATEGIES = [option.choice.partition("=")[2] for option in config_reference.options("freeze")]


def blocks(text: str, *languages: str) -> list[str]:
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def command_lines(text: str) -> Iterator[str]:
    """What a page has to be typed into a shell: lines of blocks, and code within sentences that is a whole command."""
    for block in blocks(text, "bash", "sh"):
        for line in block.splitlines():
            yield re.split(r"\s+#", line)[0].strip()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from (" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose))


def found(pattern: str) -> list[str]:
    lines = dict.fromkeys(line for text in CONTENT.values() for line in command_lines(text))
    return [line for line in lines if re.match(pattern, line) and "…" not in re.sub(r'"…"', "", line)]


def test_the_readme_can_be_read_in_minutes() -> None:
    assert len(README.splitlines()) <= 180


def test_the_pages_have_commands() -> None:
    assert len(found(r"python -m src\.")) > 100
    assert len(found(r"make \w")) > 8


# Those with a folder of the reader's own are run in tests/docs/test_own_parts.py.
@pytest.mark.parametrize("command", found(r"python -m src\.(train|plan)\b(?!.*--config-dir)"))
def test_every_training_command_composes(command: str) -> None:
    module, *arguments = shlex.split(command)[2:]
    if "-m" in arguments:
        # The first job of a multirun stands for all of them.
        arguments = [a.partition(",")[0] for a in arguments if "(" not in a]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        compose(module.removeprefix("src."), [a for a in arguments if "=" in a])


@pytest.mark.parametrize("command", found(r"python -m src\.(predict|explain|compare|export)\b"))
def test_every_other_command_composes(command: str) -> None:
    # They take some values letter for letter, which only the command itself does.
    ended = subprocess.run(
        [sys.executable, *shlex.split(command)[1:], "--cfg", "job"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("command", found(r"python -m src\.activations \w+( |$)"))
def test_every_command_for_stores_is_understood(command: str, tmp_path: Path) -> None:
    activations.main([*shlex.split(command)[3:], "--cache", str(tmp_path)])


def test_every_module_that_is_to_be_run_exists() -> None:
    for command in found(r"python -m (src|benchmarks)\."):
        name, *arguments = shlex.split(command)[2:]
        file = ROOT / f"{name.replace('.', '/')}.py"
        assert file.exists(), command
        if name.startswith("benchmarks."):
            source = file.read_text(encoding="utf-8")
            assert all(f'"{a}"' in source for a in arguments if a.startswith("--")), command


def test_every_make_target_exists() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for command in found(r"(\w+=\S+ )?make \w"):
        assert command.split("make ")[1] in targets, command


def test_every_extra_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = re.findall(r"pip install -e '\.\[([a-z,]+)\]'", " ".join(CONTENT.values()))
    assert named
    assert {extra for names in named for extra in names.split(",")} <= {*extras}


@pytest.mark.parametrize("page", CONTENT)
def test_every_link_leads_somewhere(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", CONTENT[page], flags=re.DOTALL | re.MULTILINE)
    generated = {DOCS / config_reference.FOLDER / f"{name}.md" for name in config_reference.pages()}
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith("http"):
            file = ((ROOT / page).parent / target).resolve()
            assert file.exists() or file in generated, target


@pytest.mark.parametrize("page", CONTENT)
def test_every_path_that_is_named_exists(page: str) -> None:
    prose = re.sub(r"^```.*?^```", "", CONTENT[page], flags=re.DOTALL | re.MULTILINE)
    named = re.findall(r"`((?:src|conf|tests|docs|benchmarks)/[\w./]*)`", prose)
    made = {"docs/_build/html", *EXAMPLES}
    assert [name for name in named if name not in made and not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", CONTENT)
def test_every_row_of_a_table_has_the_cells_of_its_header(page: str) -> None:
    prose = re.sub(r"^```.*?^```", "", CONTENT[page], flags=re.DOTALL | re.MULTILINE)
    for table in re.findall(r"(?:^\|.*\n)+", prose, re.MULTILINE):
        header, *rows = (len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines())
        assert {*rows} == {header}, table


def test_the_examples_of_new_files_are_in_folders_that_there_are() -> None:
    assert all((ROOT / name).parent.is_dir() and not (ROOT / name).exists() for name in EXAMPLES)


def _layers() -> list[str]:
    """The rooms and commands of each layer, as the contract of import-linter has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = (contract["layers"] for contract in contracts["contracts"] if contract["type"] == "layers")
    return [layer.replace("src.", "") for layer in layers]


def _rows(title: str) -> list[list[str]]:
    """The cells of the rows of the table of the architecture page that has this header."""
    table = CONTENT["docs/architecture.md"].partition(f"| {title} |\n| --- | --- |\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]


def test_the_table_of_rooms_is_that_of_src() -> None:
    rooms = {folder.parent.name for folder in (ROOT / "src").glob("*/__init__.py")}
    assert rooms
    assert {name.strip("`") for name, _ in _rows("room | what is in it")} == rooms


def test_the_table_of_layers_is_the_contract() -> None:
    python, commands, *rooms = _layers()
    shown = [" | ".join(re.findall(r"`(\w+)`", names)) for _, names in _rows("layer | rooms")]
    assert shown == [python, "", *rooms]
    first = CONTENT["docs/architecture.md"].partition("(`train`")[2].partition(")")[0]
    assert ["train", *re.findall(r"`(\w+)`", first)] == commands.split(" | ")


def test_every_switch_of_the_trainer_is_in_its_table() -> None:
    tables = [part for part in CONTENT["docs/trainer.md"].split("\n\n") if part.startswith("| switch |")]
    works, fixed = ([name for row in part.splitlines()[2:] for name in _names(row)] for part in tables)
    assert sorted(fixed) == sorted(trainer_switches.ONLY)
    assert sorted(works + fixed) == sorted({*trainer_switches.Trainer.model_fields} - {"target"})


def _names(row: str) -> list[str]:
    return re.findall(r"`(\w+)`", row.split("|")[1])


@pytest.mark.parametrize("page", ["README.md", "docs/strategies.md"])
def test_every_strategy_is_in_the_table(page: str) -> None:
    table = "\n".join(line.split("|")[1] for line in CONTENT[page].splitlines() if line.startswith("| `"))
    assert {name for name in STRATEGIES if f"`{name}`" not in table} == set()


def test_code_in_python_is_code_and_imports_what_there_is() -> None:
    for text in CONTENT.values():
        for block in blocks(text, "python"):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and str(node.module).startswith("src"):
                    module = importlib.import_module(str(node.module))
                    assert all(hasattr(module, alias.name) for alias in node.names), block


def test_configs_name_classes_that_there_are() -> None:
    targets = re.findall(r"^_target_: (\S+)", "\n".join(CONTENT.values()), re.MULTILINE)
    assert targets
    for target in targets:
        assert target.startswith("my_parts.") or get_method(target)


def test_the_strategy_that_is_an_example_works() -> None:
    (code,) = (block for block in blocks(CONTENT["docs/architecture.md"], "python") if "(Strategy)" in block)
    names: dict[str, Any] = {}
    exec(compile(code, "architecture.md", "exec", dont_inherit=True), names)
    layer = Stage("layer.0", ("layer.0.attention.query.weight", "layer.0.output.weight"))
    (phase,) = names["Attention"]().phases([Stage("embeddings", ("word.weight",)), layer, Stage("head", ("bias",))])
    assert phase.trainable == {"layer.0.attention.query.weight", "bias"}


def flat(node: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@pytest.mark.parametrize("group", [".", *config_reference.groups()])
def test_the_configuration_reference_has_every_key_with_its_default(group: str) -> None:
    pages = config_reference.pages()
    for option in config_reference.options(group):
        file = CONF / group / f"{option.choice.rpartition('=')[2]}.yaml"
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        page = pages[f"command_{option.choice}" if group == "." else group.replace("/", "_")]
        assert f"({option.anchor})=" in page
        if group in config_reference.OVERLAYS:
            assert yaml.safe_load(option.body) == content
            continue
        content.pop("defaults", None)
        content.get("hydra", {}).pop("help", None)
        prefix = {".": "", "backbone/size": "backbone."}.get(group, f"{group.replace('/', '.')}.")
        if group == "logger":  # each below its name, since there may be several
            prefix = f"{option.choice.replace('=', '.')}."
        shown = {key.name: yaml.safe_load(key.default) for key in option.keys if key.default}
        assert shown == dict(flat(content, prefix))
        assert all(f"| `{name}` |" in page for name in shown)


def test_comments_are_the_meaning_of_their_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "mine.yaml"
    file.write_text(
        "# What it is (Doe et al. 2026). When to choose it.\n"
        "#   python -m src.train data=mine\n"
        "defaults: [table]\n\n"
        "path: a#b  # the file\n"
        "# Both are\n"
        "# shares.\n"
        "parts:  # of all rows\n"
        "  first: 0.1  # one | another\n"
        "names:  # in order\n"
        "  - one\n"
        "  - two\n"
        "plain: null\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(config_reference, "CONF", tmp_path)
    option = config_reference.read_option(file)
    assert (option.choice, option.parents, option.summary) == ("data=mine", ["table"], "What it is (Doe et al. 2026).")
    assert [(key.name, key.default, key.meaning) for key in option.keys] == [
        ("data.path", "a#b", "the file"),
        ("data.parts", "", "of all rows. Both are shares."),
        ("data.parts.first", "0.1", "one | another"),
        ("data.names", "[one, two]", "in order"),
        ("data.plain", "null", ""),
    ]
    page = config_reference.group_page("data")
    assert "```text\npython -m src.train data=mine\n```" in page
    assert "| `data.parts.first` | `0.1` | one \\| another |" in page


def test_every_group_and_command_has_its_page_in_the_configuration_reference() -> None:
    listed = re.findall(r"^configuration/(\w+)$", CONTENT["docs/configuration.md"], re.MULTILINE)
    assert sorted(listed) == sorted(config_reference.pages())
    assert all(f"[`{group}`](configuration/" in CONTENT["docs/configuration.md"] for group in config_reference.groups())
