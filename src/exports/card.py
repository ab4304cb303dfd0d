"""The model card of an exported run: backbone, data, scores, usage, hyperparameters and limitations, all read from the
run's result and config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from src.config.data import Data
from src.config.validation import check
from src.config.values import flat
from src.errors import SHOWN, listed
from src.exports.usage import Kind, how
from src.freezing.strategy import percent
from src.pages import markdown

if TYPE_CHECKING:
    from src.exports.cross_validation import CrossValidation
    from src.statistics.intervals import Interval

# What the hub offers to load the folder with; a folder with its own loader is of none.
LIBRARIES = {
    "pipeline": "transformers",
    "fill-mask": "transformers",
    "onnx": "onnx",
    "weights": "safetensors",
    "sentence-transformers": "sentence-transformers",
}


SETTINGS = {
    "trainer": ("max_epochs", "precision", "accumulate_grad_batches", "gradient_clip_val"),
    "data": (
        "batch_size",
        "max_length",
        "truncation",
        "windows",
        "stride",
        "max_windows",
        "class_weights",
        "sampling",
        "limit",
    ),
}


def write_card(
    folder: Path,
    result: Mapping[str, Any],
    cfg: DictConfig,
    kind: Kind,
    notes: Sequence[str],
    evidence: CrossValidation | None,
) -> None:
    """Writes README.md.

    Args:
        folder: with the exported model.
        result: the content of the run's result.json.
        cfg: the run's config.
        kind: how the model is loaded.
        notes: further limitations.
        evidence: a cross-validation of the run's settings; None without one.
    """
    masked = result["objective"] == "mlm"
    code = how(kind, result["objective"], check(cfg).data)
    title = {"mlm": "A masked language model", "regression": "A text regression"}.get(
        result["objective"], "A text classifier"
    )
    lines = [
        "---",
        *([f"library_name: {LIBRARIES[kind]}"] if kind in LIBRARIES else []),
        f"pipeline_tag: {'fill-mask' if masked else 'text-classification'}",
        "---",
        f"# {title}, trained with Thaw",
        "",
        *markdown.table(["what", "value"], list(_facts(result, cfg))),
        *("", "## How to use it", "", "In this folder:", "", "```python", code, "```"),
        *("", "## Scores", "", "Of the best epoch, on texts that were not used for training:", ""),
        *markdown.table(["score", "validation", "test"], list(_scores(result["metrics"]))),
    ]
    if evidence:
        lines += ["", "## Cross-validation", "", *_cross_validation(evidence, result["texts"]["train"])]
    if thresholds := result.get("thresholds"):
        lines += ["", "## Thresholds", "", *_about_thresholds(cfg, kind), "", *_thresholds(thresholds)]
    lines += ["", "## Hyperparameters", "", *markdown.table(["key", "value"], list(_hyperparameters(cfg)))]
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in [*_limits(result, cfg), *notes]), ""]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _thresholds(thresholds: Mapping[str, float]) -> list[str]:
    rows = [[label, f"{limit:.4g}"] for label, limit in thresholds.items()]
    more = ["", f"{len(rows) - SHOWN:,} more labels: see config.json."] if len(rows) > SHOWN else []
    return [*markdown.table(["label", "threshold"], rows[:SHOWN]), *more]


def public_name(source: str) -> str:
    """Returns a hub id unchanged, and only the last part of a path, since the rest is specific to this machine."""
    local = source.startswith(("/", ".", "~")) or Path(source).exists()
    return Path(source).name if local else source


def backbone_name(cfg: DictConfig) -> str:
    """Returns the name of a run's backbone for the model card."""
    chosen = cfg.backbone
    if run := chosen.get("run"):
        return Path(run).name
    source = chosen.get("name") or chosen.get("package")
    return public_name(str(source)) if source else "a BERT from scratch"


def _facts(result: Mapping[str, Any], cfg: DictConfig) -> Iterator[list[str]]:
    total, trained = result["parameters"]["total"], result["parameters"]["trainable"]
    software = result["environment"]
    yield ["backbone", backbone_name(cfg)]
    yield ["data", Path(cfg.data.path).name if cfg.data.path else public_name(cfg.data.name)]
    yield ["texts", ", ".join(f"{count:,} {split}" for split, count in result["texts"].items())]
    yield ["task", result["objective"]]
    if result["objective"] == "regression":
        yield ["targets", listed(result["labels"])]
    elif result["labels"]:
        yield ["number of labels", f"{len(result['labels']):,}"]
        yield ["labels", listed(result["labels"])]
    if calibration := result.get("calibration"):
        yield ["temperature", f"{calibration['temperature']:.4g}, in the weights"]
    yield ["freezing strategy", result["strategy"]]
    yield ["trained parameters", f"{trained:,} of {total:,} ({percent(trained / total)})"]
    yield ["frozen parameters", f"{total - trained:,}"]
    yield ["best epoch", str(result["best"]["epoch"])]
    yield ["seed", str(result["seed"])]
    yield ["trained on", f"{software['device']}, {software['time']}"]
    yield ["versions", f"Thaw {software['thaw']}, torch {software['torch']}, transformers {software['transformers']}"]


def _about_thresholds(cfg: DictConfig, kind: Kind) -> Iterator[str]:
    chosen = "" if isinstance(check(cfg).threshold, float) else ", chosen on validation"
    applied = "`load.py` does so" if kind == "loader" else "the code above does so where it prints labels"
    yield f"A label is predicted from this probability on{chosen}; {applied}."


def _scores(metrics: Mapping[str, Mapping[str, float | None]]) -> Iterator[list[str]]:
    for name in metrics["test"]:
        values = (metrics[split].get(name) for split in ("validation", "test"))
        yield [name, *("-" if value is None else f"{value:.4f}" for value in values)]


def _cross_validation(found: CrossValidation, texts: int) -> Iterator[str]:
    repeats = "one repeat" if found.repeats == 1 else f"{found.repeats} repeats"
    yield (
        f"Mean test scores of {found.runs} runs with the same settings, in {repeats} of a {found.folds}-fold "
        "cross-validation, with 95% intervals for new texts and folds:"
    )
    yield ""
    rows = [[name, f"{score:.4f}", _bounds(interval)] for name, (score, interval) in found.scores.items()]
    yield from markdown.table(["score", "mean", "interval"], rows)
    yield ""
    yield (
        f"Each of these runs was trained on about {found.texts:,} texts and tested on others. This model itself was "
        f"trained on the {texts:,} training texts of its own split, to which the scores above belong."
    )


def _bounds(interval: Interval | None) -> str:
    return f"{interval.low:.4f} to {interval.high:.4f}" if interval else "n/a"


def _hyperparameters(cfg: DictConfig) -> Iterator[list[str]]:
    parts = {name: cfg[name] for name in ("model", "freeze", "optimizer", "scheduler")}
    parts |= {name: OmegaConf.masked_copy(cfg[name], list(keys)) for name, keys in SETTINGS.items()}
    for section, node in parts.items():
        values: Any = OmegaConf.to_container(node, resolve=True)
        for key, value in flat(values):
            if value is None:
                continue
            name = f"{section}.{key}"
            if name not in ("freeze._target_", "scheduler.schedule._partial_"):  # the strategy has its own row
                shown = str(value).rpartition(".")[2] if key.endswith("_target_") else str(value)
                yield [name.removesuffix("._target_"), shown]


def _limits(result: Mapping[str, Any], cfg: DictConfig) -> Iterator[str]:
    yield from _lengths(check(cfg).data)
    if result["objective"] in ("binary", "multiclass"):
        yield "Every text gets one of the labels, even if none of them fits."
    yield (
        f"The scores are those of one run on {result['texts']['test']:,} test texts from the same source as the "
        "training texts; other seeds and other texts give other scores."
    )
    yield "The licences of the backbone and of the data are not recorded here; they apply to this model too."


def _lengths(data: Data) -> Iterator[str]:
    if data.windows:
        yield f"Texts are read in windows of {data.max_length} tokens, of which neighbours share {data.reading.stride}."
    if data.pairs:
        yield f"Pairs of texts are truncated to {data.reading}, the longer text first."
    elif not data.windows or data.max_windows is not None:
        yield f"Texts are truncated to {data.reading}."
