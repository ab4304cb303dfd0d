"""The parts of `benchmarks.gpu`: each runs processes, and returns what they took."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Found = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    bert: dict[str, int]  # its config
    texts: int  # for training, of those in the data
    documents: int  # likewise
    length: int  # tokens of a document
    epochs: int
    runs: int  # of a sweep
    beside: int  # of them at a time
    profiled: int  # the step from which on some are profiled
    patience: int  # how many times as long a part may take
    trainer: tuple[str, ...]  # Thaw's
    other: tuple[str, ...]  # the same for the other side


GPU = ("--accelerator", "gpu", "--precision", "bf16")
BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
TINY = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
FULL = Scale(BASE, 4_000, 1_024, 512, 2, 12, 4, 40, 1, ("trainer=gpu",), GPU)
REHEARSAL = Scale(TINY, 480, 64, 64, 2, 2, 2, 5, 5, ("trainer=cpu",), ("--accelerator", "cpu"))


@dataclass(frozen=True)
class Job:
    """A training that both sides run."""

    freeze: str  # as the other side reads it
    head: str = "linear"

    @property
    def thaw(self) -> list[str]:
        kind, _, layers = self.freeze.partition(":")
        return [f"model=bert_{self.head}", f"freeze={kind}", *([f"freeze.layers={layers}"] if layers else [])]


JOBS = {
    "frozen linear": Job("all"),
    "frozen BiLSTM": Job("all", "bilstm"),
    "bottom 8 of 12": Job("bottom:8"),
    "full": Job("none"),
    "lora": Job("lora"),
}
LONG = ("frozen linear", "bottom 8 of 12", "full")  # also on documents


class Bench:
    """The parts, and what they need.

    Args:
        scale: of everything.
        data: a folder with train, validation and test CSV.
        work: a folder for what the parts need, made anew.
        minilm: the folder of MiniLM.
    """

    def __init__(self, scale: Scale, data: Path, work: Path, minilm: Path) -> None:
        self.scale, self.data, self.work = scale, data.resolve(), work
        self.minilm = minilm
        self.backbones = {"MiniLM": minilm if scale == FULL else work / "bert", "BERT-base": work / "bert"}
        self.sources = {"texts": work / "texts", "documents": work / "documents"}
        self.lengths = {"texts": 64, "documents": scale.length}

        self.most = 0.0  # seconds that the current part may take

    def prepare(self) -> None:
        """Writes BERT-base, the texts and the documents."""
        from transformers import AutoTokenizer, BertConfig, BertModel

        tokenizer = AutoTokenizer.from_pretrained(self.minilm)
        tokenizer.model_max_length = 512
        tokenizer.save_pretrained(self.backbones["BERT-base"])
        sizes = BertConfig(vocab_size=len(tokenizer), **self.scale.bert)
        BertModel(sizes).save_pretrained(self.backbones["BERT-base"])
        draw = random.Random(1)
        for split, part in (("train", 1), ("validation", 8), ("test", 8)):
            rows = read(self.data / f"{split}.csv")
            texts = draw.sample(rows, min(len(rows), self.scale.texts // min(part, 4)))
            words = [word for row in rows for word in row["text"].split()]
            # No word has less than one token, and the longer texts are cut.
            documents = [
                {"text": " ".join(draw.choices(words, k=self.scale.length)), "label": number % 2}
                for number in range(self.scale.documents // part)
            ]
            write(self.sources["texts"] / f"{split}.csv", texts)
            write(self.sources["documents"] / f"{split}.csv", documents)

    def parts(self) -> Iterator[tuple[str, float, Callable[[], Found]]]:
        """Yields name, most seconds and function of each part; the most important ones first."""
        yield "limits", 60, lambda: json.loads(self.run("benchmarks.limit")[1].splitlines()[-1])
        for backbone in self.backbones:
            for source in self.sources:
                for pooling in ("mean", None):
                    name = f"encode, {backbone}, {source}, {'pooled' if pooling else 'states'}"
                    yield name, 60, lambda b=backbone, s=source, p=pooling: self.encode(b, s, p)
        yield from self._pairs("BERT-base", "texts", JOBS)
        yield "embeddings, BERT-base, texts, frozen linear", 60, self.embeddings
        yield from self._pairs("BERT-base", "documents", LONG)
        yield "sweep, in turn", 120, lambda: self.sweep(1)
        yield "sweep, side by side", 120, lambda: self.sweep(self.scale.beside)
        yield from self._pairs("BERT-base", "texts", ("full",), "profile, ", profiled=self.scale.profiled)
        yield from self._pairs("BERT-base", "texts", ("frozen BiLSTM",), "profile, ", profiled=self.scale.profiled)
        yield from self._pairs("BERT-base", "documents", ("full",), "compile, ", compiled=True)
        yield from self._pairs("MiniLM", "texts", ("full",))

    def _pairs(
        self, backbone: str, source: str, names: Any, kind: str = "", **options: Any
    ) -> Iterator[tuple[str, float, Callable[[], Found]]]:
        for name in names:
            for side, function in (("Thaw", self.thaw), ("Trainer", self.trainer)):
                whole = f"{kind}{name}, {backbone}, {source}, {side}"
                most = 120 if options else 75
                yield whole, most, lambda f=function, n=name: f(JOBS[n], backbone, source, **options)

    def encode(self, backbone: str, source: str, pooling: str | None) -> Found:
        with tempfile.TemporaryDirectory() as folder:
            output, data = Path(folder) / "result.json", self.sources[source]
            given = ["--backbone", self.backbones[backbone], "--data", data, "--max-length", self.lengths[source]]
            given += ["--pooling", pooling] if pooling else []
            self.run("benchmarks.encode", *given, *self.scale.other[:2], "--output", output)
            found: Found = json.loads(output.read_text())["bfloat16"]
        return found | {
            "tokens_per_second": found["tokens"] / found["seconds"],
            "share": found["limit"] / found["seconds"],
        }

    def options(self, backbone: str, source: str) -> list[Any]:
        """Returns what every run of Thaw is given."""
        data = ["data=table", f"data.path={self.sources[source]}", f"data.max_length={self.lengths[source]}"]
        weights = [f"backbone.name={self.backbones[backbone]}", "backbone.package=null", "backbone.sha256=null"]
        training = [f"trainer.max_epochs={self.scale.epochs}", "callbacks=no_early_stopping", "callbacks.progress=null"]
        return [*self.scale.trainer, *data, *weights, *training]

    def thaw(self, job: Job, backbone: str, source: str, profiled: int | None = None, compiled: bool = False) -> Found:
        with tempfile.TemporaryDirectory() as folder:
            epochs, place = Path(folder) / "epochs.json", Path(folder) / "run"
            measured = ["_target_=benchmarks.measured.InLightning", f"file={epochs}"]
            measured += [f"profiled={profiled}"] if profiled else []
            watched = [f"+callbacks.measured.{option}" for option in measured]
            more = [f"run={place}", f"cache={folder}/cache", f"trainer.compile={compiled}"]
            seconds, _ = self.run("src.train", *self.options(backbone, source), *job.thaw, *more, *watched)
            result = json.loads((place / "result.json").read_text())
            of_epochs = json.loads(epochs.read_text())
        parts = {name: round(value, 1) for name, value in result["seconds"].items()}
        accuracy = result["metrics"]["test"]["accuracy"]
        return {"seconds": seconds, **of_epochs, "parts": parts, "accuracy": accuracy}

    def trainer(
        self, job: Job, backbone: str, source: str, profiled: int | None = None, compiled: bool = False
    ) -> Found:
        with tempfile.TemporaryDirectory() as folder:
            epochs, output = Path(folder) / "epochs.json", Path(folder) / "result.json"
            given = ["--data", self.sources[source], "--backbone", self.backbones[backbone], "--freeze", job.freeze]
            given += ["--head", job.head, "--epochs", self.scale.epochs, "--max-length", self.lengths[source]]
            given += [*self.scale.other, "--best", "--epochs-file", epochs, "--output", output]
            given += ["--compile"] * compiled + (["--profile", profiled] if profiled else [])
            seconds, _ = self.run("benchmarks.trainer", *given)
            accuracy = json.loads(output.read_text())["accuracy"]
            return {"seconds": seconds, **json.loads(epochs.read_text()), "accuracy": accuracy}

    def embeddings(self) -> Found:
        if not importlib.util.find_spec("sentence_transformers"):
            return {"skipped": "sentence-transformers is not installed"}
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "result.json"
            given = ["--data", self.sources["texts"], "--backbone", self.backbones["BERT-base"], "--output", output]
            seconds, _ = self.run("benchmarks.embeddings", *given, *self.scale.other)
            return {"seconds": seconds, **json.loads(output.read_text())}

    def sweep(self, beside: int) -> Found:
        """Frozen runs that differ in the seed, from an empty store on."""
        if beside > 1 and not importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher"):
            return {"skipped": "hydra-joblib-launcher is not installed"}
        seeds = ",".join(map(str, range(1, self.scale.runs + 1)))
        launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={beside}"] if beside > 1 else []
        with tempfile.TemporaryDirectory() as folder:
            options = [*self.options("BERT-base", "texts"), *JOBS["frozen linear"].thaw, f"seed={seeds}", *launcher]
            place = [f"hydra.sweep.dir={folder}/sweep", f"cache={folder}/cache"]
            seconds, _ = self.run("src.train", "-m", *options, *place)
            results = [json.loads(file.read_text()) for file in Path(folder).glob("sweep/*/result.json")]
        if len(results) != self.scale.runs:
            raise RuntimeError(f"{len(results)} of {self.scale.runs} runs have a result")
        return {"seconds": seconds, "runs": len(results), "at_a_time": beside}

    def run(self, module: str, *arguments: Any) -> tuple[float, str]:
        """Runs a module in a process of its own, which is ended with all of its processes when the time is over.

        Returns:
            Its seconds, and its standard output.

        Raises:
            RuntimeError: it failed or took too long.
        """
        command, begin = [sys.executable, "-m", module, *map(str, arguments)], time.perf_counter()
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(command, stdout=output, stderr=errors, start_new_session=True)
            try:
                code = process.wait(self.most)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                code = None
            seconds, texts = time.perf_counter() - begin, []
            for file in (output, errors):
                file.seek(0)
                texts.append(file.read())
        if code == 0:
            return seconds, texts[0]
        why = f"failed with {code}" if code else f"took more than {self.most:.0f} seconds"
        raise RuntimeError(f"{module} {why}: {texts[0][-500:]}\n{texts[1][-1500:]}")


def read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return [*csv.DictReader(opened)]


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, ["text", "label"])
        writer.writeheader()
        writer.writerows(rows)
