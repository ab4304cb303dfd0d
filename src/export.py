"""Exports a finished run to a folder with weights, tokenizer and model card, and to the Hugging Face hub. The entry
point of `python -m src.export`.

Torch and libraries based on it are imported inside functions, so that invalid arguments are reported quickly.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import hydra
from omegaconf import DictConfig
from pydantic import Field, model_validator

from src.cli import exit_codes, run_command
from src.config.model import ClassifierHead
from src.config.sections import Section
from src.config.validation import check, check_options
from src.errors import UserError
from src.exports.pushing import check_push, push
from src.files.paths import user_path
from src.files.staged import staged_folder
from src.prediction.predictor import Predictor
from src.runs.find import check_named, find_run
from src.runs.folder import RunFolder

if TYPE_CHECKING:
    from src.exports.cross_validation import CrossValidation


class Options(Section):
    """The options of conf/export.yaml."""

    run: Annotated[str, Field(min_length=1)]
    sweep_folder: str | None
    output: Annotated[str, Field(min_length=1)]
    format: Literal["huggingface", "sentence-transformers", "onnx", "safetensors"]
    int8: bool
    evidence: Annotated[str, Field(min_length=1)] | None
    push: Annotated[str, Field(min_length=1)] | None
    private: bool
    opset: Annotated[int, Field(ge=14, le=20)]  # those that PyTorch can write and that have all operators of encoders

    @property
    def folder(self) -> Path:
        return user_path(self.output).resolve()

    @model_validator(mode="after")
    def is_consistent(self) -> Self:
        if self.int8 and self.format != "onnx":
            raise ValueError(f"int8=true requires format=onnx; got format={self.format}")
        if self.push is None and not self.private:
            raise ValueError("private=false requires push=ORG/NAME; it has no value")
        return self


def export(cfg: DictConfig) -> list[str]:
    """Exports a run.

    Args:
        cfg: composed from conf/export.yaml.

    Returns:
        Notes, the written files, and where they were pushed to, one line each.

    Raises:
        UserError: the arguments, run, evidence or output folder cannot be used, the format does not support the run, or
            the folder, which is complete, could not be pushed.
    """
    check_named(cfg)
    options = _check(cfg)
    run = find_run(options.run, options.sweep_folder)
    evidence = _evidence(run, options)
    _check_expressible(options, run)
    if options.push:
        check_push(options.push, options.private)
    predictor = Predictor.load(run.path, "float32", "cpu")
    if options.format == "sentence-transformers":
        from src.exports.sentence_transformer import check_expressible

        check_expressible(predictor.network, predictor.data.reading, run.path)
    with staged_folder(options.folder, "Choose another: output=…") as folder:
        notes = _write(folder, run, predictor, options, evidence)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        for file in files:
            file.chmod(files[0].stat().st_mode)  # safetensors makes weights readable by their owner only
        names = [file.relative_to(folder).as_posix() for file in files]
    notes.append(f"Written: {options.output} ({', '.join(names)})")
    if options.push:
        notes.append(push(options.folder, options.push, options.private))
    return notes


def _check(cfg: DictConfig) -> Options:
    options = check_options(cfg, Options)
    folder = options.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"output must be a new or an empty folder; {folder} already exists.\nChoose another: output=…")
    needed = ("onnx", "onnxruntime") if options.format == "onnx" else ()
    if absent := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"format=onnx needs the packages onnx and onnxruntime; not installed: {', '.join(absent)}.\n"
            "Install them: pip install -c constraints.txt -e '.[export]'"
        )
    return options


def _check_expressible(options: Options, run: RunFolder) -> None:
    """Checks what can be known before the run's model is loaded.

    Raises:
        UserError: the format does not support the run.
    """
    objective, config = run.read_result()["objective"], check(run.saved_config("network"))
    if objective == "mlm" and options.format != "huggingface":
        raise UserError(
            f"format={options.format} supports classifiers only; {run.path} is a masked language model.\n"
            "Choose format=huggingface."
        )
    if config.data.windows and type(config.model) is ClassifierHead:  # none of src/models/heads.py
        raise UserError(
            f"No format has both windows and a head of your own; {run.path} has data.windows=true and the head "
            f"{config.model.target}.\nPredict with python -m src.predict, or train with one of the two."
        )
    if config.data.windows and options.format == "onnx":
        raise UserError(
            f"format=onnx computes the logits of single sequences; {run.path} combines those of a text's windows.\n"
            "Choose format=huggingface, whose load.py does."
        )


def _evidence(run: RunFolder, options: Options) -> CrossValidation | None:
    if options.evidence is None:
        return None
    from src.exports.cross_validation import cross_validation

    return cross_validation(run, user_path(options.evidence))


def _write(
    folder: Path, run: RunFolder, predictor: Predictor, options: Options, evidence: CrossValidation | None
) -> list[str]:
    """Writes the files into the folder; returns notes for the user."""
    from src.exports import formats
    from src.exports.card import write_card

    cfg = run.saved_config("network")
    original = formats.Original(run, cfg, predictor)
    original.save_tokenizer(folder)
    if options.format == "onnx":
        kind, notes = formats.write_onnx(folder, original, options.opset, options.int8)
    else:
        writers = {
            "huggingface": formats.write_huggingface,
            "sentence-transformers": formats.write_sentence_transformers,
            "safetensors": formats.write_safetensors,
        }
        kind, notes = writers[options.format](folder, original)
    write_card(folder, predictor.result, cfg, kind, notes, evidence)
    return notes


@hydra.main(version_base="1.3", config_path="../conf", config_name="export")
def main(cfg: DictConfig) -> None:
    with exit_codes():
        print("\n".join(export(cfg)))


if __name__ == "__main__":
    run_command(main, "export", verbatim=("run", "sweep_folder", "output", "evidence", "push"))
