"""The texts of a table: one column, two columns as pairs, or several joined into one text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from src.config.data import Data
from src.errors import UserError
from src.tables.tables import Table

# One input of a model: a text, or a pair of texts.
Text = str | tuple[str, str]

BETWEEN = " ⏎ "  # the texts of a pair where it is shown as one


COLUMNS = ("text", "text_pair")


def sides(texts: Sequence[Text]) -> list[list[str]]:
    """Returns the texts as one list; of pairs, the first texts and the second texts."""
    if texts and isinstance(texts[0], str):
        return [[text for text in texts if isinstance(text, str)]]
    return [list(side) for side in zip(*map(parts, texts), strict=True)] or [[]]


def as_columns(texts: Sequence[Text]) -> dict[str, list[str]]:
    """Returns the texts as a column `text`; of pairs, the second texts as a column `text_pair`, as transformers calls
    it."""
    return dict(zip(COLUMNS, sides(texts), strict=False))


def from_columns(columns: Mapping[str, list[str]]) -> list[Text]:
    """Returns the texts in these columns, the inverse of `as_columns`."""
    found = [columns[name] for name in COLUMNS if name in columns]
    return [*found[0]] if len(found) == 1 else [*zip(found[0], found[1], strict=True)]


def parts(text: Text) -> tuple[str, ...]:
    """Returns the one text, or the two of a pair."""
    return (text,) if isinstance(text, str) else text


def shown(text: Text) -> str:
    """Returns a text as people read it; a pair with a sign between its texts."""
    return BETWEEN.join(parts(text))


def is_blank(text: Text) -> bool:
    """Whether a text, or a text of a pair, holds nothing but white space."""
    return not all(part.strip() for part in parts(text))


def read_texts(table: Table, cfg: Data, key: str) -> list[Text]:
    """Returns the text of each row; what is missing is blank.

    Args:
        table: with the columns.
        cfg: which names the columns.
        key: the config key that named them, for messages.

    Raises:
        UserError: a column is missing, or a row has something there that is no text.
    """
    names = cfg.text_columns
    if isinstance(cfg.text, str):
        return [*table.texts(cfg.text, key)]
    rows = zip(*(table.texts(name, key, f"[{','.join('…' for _ in names)}]") for name in names), strict=True)
    if cfg.join:
        named = (zip(names, row, strict=True) for row in rows)
        return ["\n".join(f"{name}: {value}" for name, value in row if value.strip()) for row in named]
    return [(first, second) for first, second in rows]


def check_kind(text: Text, cfg: Data) -> None:
    """Checks that a run can read a text: a pair if it was trained on pairs, otherwise a single text.

    Raises:
        UserError: it cannot.
    """
    if cfg.pairs and not (isinstance(text, tuple) and len(text) == 2):
        raise UserError(
            f"The run was trained on pairs of texts (data.text=[{','.join(cfg.text_columns)}]) and needs two; got "
            f"{_brief(text)}.\nGive both: text=… pair=… on the command line, (first, second) in Python."
        )
    if not cfg.pairs and not isinstance(text, str):
        columns = ",".join(cfg.text_columns)
        raise UserError(
            f"The run was trained on single texts (data.text={columns}) and needs one; got {_brief(text)}.\n"
            "Leave out the second text, or choose a run that was trained on pairs."
        )


def _brief(text: object) -> str:
    return f"{text!r:.80}"


def other_columns(cfg: Data, given: str | list[str], key: str) -> Data:
    """Returns the data section of a run with the columns of another file.

    Args:
        cfg: of the run.
        given: the columns with the texts.
        key: the config key that named them.

    Raises:
        UserError: they are more or fewer than in training.
    """
    found = cfg.model_copy(update={"text": given})
    wanted, named = (",".join(data.text_columns) for data in (cfg, found))
    if len(found.text_columns) != len(cfg.text_columns):
        raise UserError(
            f"{key} must name as many columns as the run was trained on ({wanted}); got {named}.\n"
            f"For example: {key}={wanted if cfg.text == wanted else f'[{wanted}]'}."
        )
    return found
