"""The configuration reference: a page for each command and each group of conf/, from the comments in its files.

A file of conf/ says in its first comment what it is; the comments above and behind a key say what the key means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from sphinx.application import Sphinx

CONF = Path(__file__).resolve().parents[2] / "conf"
FOLDER = "configuration"  # of the pages, which git ignores
HIDDEN = {"hydra/help", "hydra/job_logging", "hydra/sweeper"}  # groups that nobody chooses from
INNER = {"defaults", "hydra.help"}  # keys for Hydra alone
OVERLAYS = {"experiment", "sweep"}  # their files override values of other groups


@dataclass(frozen=True)
class Key:
    """A key of a config.

    Args:
        name: as on the command line.
        default: as in the file; empty for a section, whose keys follow.
        meaning: what its comments say.
    """

    name: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Option:
    """A file of conf/.

    Args:
        choice: how it is chosen, such as `freeze=bottom`; the name of the command for its own config.
        about: the comment that the file begins with, without the marks.
        parents: options of the same group that it builds on.
        defaults: what it chooses of other groups unless told otherwise.
        keys: in the order of the file.
        body: the file without that comment.
    """

    choice: str
    about: list[str]
    parents: list[str]
    defaults: list[str]
    keys: list[Key]
    body: str

    @property
    def anchor(self) -> str:
        return "config-" + re.sub(r"[^a-z0-9]+", "-", self.choice.lower())

    @property
    def summary(self) -> str:
        """The first sentence about it."""
        text = " ".join(line for line in self.about if not _is_command(line))
        return re.split(r"(?<!et al)\. ", text)[0].rstrip(".") + "."


def groups() -> list[str]:
    """The groups of conf/ that a choice is made in, such as `freeze` and `hydra/launcher`."""
    found = {file.parent.relative_to(CONF).as_posix() for file in CONF.rglob("*.yaml")}
    return sorted(found - HIDDEN - {"."})


def options(group: str) -> list[Option]:
    """The options of a group, or, for the group `.`, the configs of the commands."""
    return [read_option(file) for file in sorted((CONF / group).glob("*.yaml"))]


def read_option(file: Path) -> Option:
    """What a file of conf/ says of itself."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    about = [line[1:].removeprefix(" ") for line in lines[:end] if not line.startswith("# @package")]
    group = file.parent.relative_to(CONF).as_posix()
    listed = (yaml.safe_load(text) or {}).get("defaults", ())
    parents = [entry for entry in listed if isinstance(entry, str) and entry != "_self_"]
    chosen = [pair for entry in listed if isinstance(entry, dict) for pair in entry.items()]
    defaults = [f"{_inner(group, name)}={value}" for name, value in chosen if value and not name.startswith("override")]
    package = re.search(r"^# @package (\S+)$", text, re.MULTILINE)
    prefix = "" if group in (".", *OVERLAYS) else f"{package[1] if package else group.replace('/', '.')}."
    keys = [] if group in OVERLAYS else list(_keys(yaml.compose(text), lines, end, prefix))
    choice = file.stem if group == "." else f"{group}={file.stem}"
    return Option(choice, about, parents, defaults, keys, "\n".join(lines[end:]).strip())


def _inner(group: str, name: str) -> str:
    """The name of a group as it is chosen: what a file names is inside of the file's own group."""
    return name if group == "." else f"{group}/{name}"


def _keys(node: yaml.Node | None, lines: Sequence[str], first: int, prefix: str) -> Iterator[Key]:
    """The keys below a mapping, with those of its sections.

    Args:
        node: the mapping.
        lines: of the file.
        first: the line from which on comments belong to keys.
        prefix: of the keys' names.
    """
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        name = prefix + key.value
        if {key.value, name} & INNER:
            continue
        section = isinstance(value, yaml.MappingNode) and bool(value.value) and not value.flow_style
        nested = section or (isinstance(value, yaml.SequenceNode) and not value.flow_style)
        place = key.end_mark if nested else value.end_mark
        comments = [_behind(lines[place.line][place.column :]), _above(lines, key.start_mark.line, first)]
        meaning = ". ".join(filter(None, comments))
        if not section:
            yield Key(name, _source(value), meaning)
        elif meaning:
            yield Key(name, "", meaning)
        if section:
            yield from _keys(value, lines, first, f"{name}.")


def _above(lines: Sequence[str], line: int, first: int) -> str:
    """The comment that ends right above a line, but not the one that the file begins with."""
    start = line
    while start > first and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    return " ".join(text.lstrip().removeprefix("#").strip() for text in lines[start:line])


def _behind(rest: str) -> str:
    """The comment behind a key."""
    return rest.partition("#")[2].strip()


def _source(value: yaml.Node) -> str:
    """A value on one line, as it can be written on the command line."""
    if isinstance(value, yaml.SequenceNode) and not value.flow_style:
        return f"[{', '.join(_source(item) for item in value.value)}]"
    text: Any = value.start_mark.buffer
    return " ".join(text[value.start_mark.pointer : value.end_mark.pointer].split())


def _is_command(line: str) -> bool:
    return line.startswith((" ", "python -m "))


def _paragraphs(about: Sequence[str]) -> Iterator[str]:
    """A comment as Markdown: sentences as they are, commands as code."""
    part: list[str] = []
    for number, line in enumerate(about):
        part.append(line.strip() if _is_command(line) else escaped(line))
        last = number + 1 == len(about)
        if last or _is_command(line) != _is_command(about[number + 1]):
            yield "\n".join(["```text", *part, "```"]) if _is_command(line) else " ".join(part)
            yield ""
            part = []


def escaped(text: str) -> str:
    """A comment as Markdown that shows it letter for letter, apart from code between backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_$<\[\]])", r"\\\1", part) for part in parts)


def code(text: str) -> str:
    """Code within a sentence or a table."""
    return f"`{text}`" if text else ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"| {' | '.join('---' for _ in header)} |"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def section(option: Option, title: str) -> Iterator[str]:
    """An option as Markdown: what it says of itself, and its keys."""
    yield f"({option.anchor})="
    yield f"{title}\n"
    yield from _paragraphs(option.about)
    group = option.choice.partition("=")[0]
    for parent in option.parents:
        choice = parent if "=" not in option.choice else f"{group}={parent}"
        yield f"Builds on [{code(choice)}](#config-{re.sub(r'[^a-z0-9]+', '-', choice.lower())}); what differs:\n"
    if option.defaults:
        yield f"Default choices: {', '.join(map(code, option.defaults))}.\n"
    if option.keys:
        rows = [(code(key.name), code(key.default), escaped(key.meaning)) for key in option.keys]
        yield from table(("key", "default", "meaning"), rows)
    elif option.body:
        yield f"```yaml\n{option.body}\n```\n"


def group_page(group: str) -> str:
    """The page of a group: its options in a table, then one by one."""
    found = options(group)
    lines = [f"# `{group}`\n"]
    lines += table(("option", "what it is"), [(f"[{code(o.choice)}](#{o.anchor})", escaped(o.summary)) for o in found])
    for option in found:
        lines += section(option, f"## `{option.choice}`")
    return "\n".join(lines)


def command_page(option: Option) -> str:
    """The page of a command's own config."""
    return "\n".join(section(option, f"# `python -m src.{option.choice}`"))


def pages() -> dict[str, str]:
    """The Markdown of every page, by its name."""
    commands = {f"command_{option.choice}": command_page(option) for option in options(".")}
    return commands | {group.replace("/", "_"): group_page(group) for group in groups()}


def write(app: Sphinx) -> None:
    """Writes the pages that have changed, and removes those of groups that are gone."""
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(exist_ok=True)
    found = pages()
    for file in folder.glob("*.md"):
        if file.stem not in found:
            file.unlink()
    for name, content in found.items():
        file = folder / f"{name}.md"
        if not file.exists() or file.read_text(encoding="utf-8") != content:
            file.write_text(content, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
