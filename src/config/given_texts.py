"""The options of commands that give texts to a finished run."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from src.config.data import TextColumns
from src.config.sections import Section
from src.config.text_files import Delimiter, Encoding, Quoting


class GivenTexts(Section):
    """A run, and a text or a file of texts."""

    run: Annotated[str, Field(min_length=1)]
    sweep_folder: str | None
    text: str | None
    pair: str | None
    input: Annotated[str, Field(min_length=1)] | None
    text_column: TextColumns | None
    header: bool | None
    quoting: Quoting | None
    delimiter: Delimiter | None
    encoding: Encoding | None

    @model_validator(mode="after")
    def has_texts(self) -> Self:
        if self.pair is not None and self.text is None:
            raise ValueError("pair=… is the second text of a pair; give the first too: text=…")
        if (self.text is None) == (self.input is None):
            got = "neither" if self.text is None else "both"
            raise ValueError(f"Give either text=… or input=FILE (- for standard input); got {got}")
        for key, text in (("text", self.text), ("pair", self.pair)):
            if text is not None and not text.strip():
                raise ValueError(f'{key} must hold words; it is blank. For example: {key}="The movie was fantastic!"')
        return self
