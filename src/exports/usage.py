"""The code in the model card that loads an exported folder and computes predictions from it."""

from __future__ import annotations

from typing import Literal

from src.config.data import Data
from src.config.schema import Objective

# How the exported folder is loaded.
Kind = Literal["pipeline", "fill-mask", "loader", "weights", "onnx", "sentence-transformers"]


HOW: dict[str, str] = {
    "pipeline": """\
from transformers import pipeline

classify = pipeline("text-classification", model=".", truncation=True, top_k=None)
print(classify(["A text."]))""",
    "pipeline, multilabel": """\
from transformers import pipeline

classify = pipeline("text-classification", model=".", truncation=True, top_k=None)
thresholds = classify.model.config.thresholds
for scores in classify(["A text."]):
    print([scored for scored in scores if scored["score"] >= thresholds[scored["label"]]])""",
    "pipeline, regression": """\
from transformers import pipeline

predict = pipeline("text-classification", model=".", truncation=True, top_k=None, function_to_apply="none")
print(predict(["A text."]))  # a score is a number""",
    "fill-mask": """\
from transformers import pipeline

fill = pipeline("fill-mask", model=".")
print(fill(f"A {fill.tokenizer.mask_token} text."))""",
    "loader": """\
from load import load

classify = load(".")
print(classify(["A text."]))""",
    "weights": """\
from safetensors.torch import load_file

weights = load_file("model.safetensors")  # encoder.… and head.…; config.json says what they are
print({name: tuple(tensor.shape) for name, tensor in weights.items()})""",
    "onnx": """\
import json
from pathlib import Path

import numpy as np
import onnxruntime
from transformers import AutoTokenizer

config = json.loads(Path("config.json").read_text(encoding="utf-8"))
tokenizer = AutoTokenizer.from_pretrained(".")
session = onnxruntime.InferenceSession("model.onnx")
encoded = tokenizer(["A text."], truncation=True, padding=True, return_tensors="np")
inputs = {given.name: encoded[given.name].astype(np.int64) for given in session.get_inputs()}
(logits,) = session.run(["logits"], inputs)
""",
    "sentence-transformers": """\
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(".")
config = model[0].auto_model.config
logits = model.encode(["A text."], convert_to_tensor=True)
""",
}


# The texts in these, and the pairs instead of them.
TEXTS = '["A text."]'
PAIRS: dict[str, str] = {
    "pipeline": '[{"text": "A text.", "text_pair": "Another."}]',
    "loader": '[("A text.", "Another.")]',
    "onnx": '["A text."], ["Another."]',
    "sentence-transformers": '[("A text.", "Another.")]',
}


# How ONNX's inputs are made where some of the first and some of the last tokens of longer texts are read.
ENCODED = 'tokenizer(["A text."], truncation=True, padding=True, return_tensors="np")'
HEAD_TAIL = """\
tokenizer.pad(
    {"input_ids": [shortened(ids) for ids in tokenizer(["A text."], verbose=False)["input_ids"]]}, return_tensors="np"
)"""
SHORTENED = """\


def shortened(ids):
    begin = config["special_ends"][0] + config["first_tokens"]
    most = config["max_length"]
    return ids if len(ids) <= most else ids[:begin] + ids[begin - most :]


tokenizer = """


# How the logits of sentence-transformers become predictions, and what its first modules are for.
PREDICTIONS = {
    "regression": "print([dict(zip(config.id2label.values(), numbers)) for numbers in logits.tolist()])",
    "multiclass": "probabilities = logits.softmax(1)\n"
    "print([config.id2label[index] for index in probabilities.argmax(1).tolist()], probabilities)",
    "binary": "probabilities = (logits * logits.new_tensor([-1, 1])).sigmoid()  # one logit, that of the second label\n"
    'limit = getattr(config, "thresholds", {}).get(config.id2label[1], 0.5)\n'
    "print([config.id2label[int(positive >= limit)] for _, positive in probabilities.tolist()], probabilities)",
    "multilabel": "probabilities = logits.sigmoid()\n"
    "thresholds = [config.thresholds[label] for label in config.id2label.values()]\n"
    "for row in (probabilities >= logits.new_tensor(thresholds)).tolist():\n"
    "    print([config.id2label[index] for index, predicted in enumerate(row) if predicted])",
}
EMBEDDINGS = """

# The first two modules alone give embeddings instead of logits.
embed = SentenceTransformer(modules=[model[0], model[1]])
print(embed.encode(["A text."]).shape)"""


# How ONNX's logits become probabilities of `config["labels"]`.
PROBABILITIES = {
    "regression": "probabilities = logits  # the predicted numbers",
    "multiclass": "exponents = np.exp(logits - logits.max(1, keepdims=True))\n"
    "probabilities = exponents / exponents.sum(1, keepdims=True)",
    "binary": "positive = 1 / (1 + np.exp(-logits))\nprobabilities = np.concatenate([1 - positive, positive], axis=1)",
    "multilabel": 'probabilities = 1 / (1 + np.exp(-logits))  # predicted from its config["thresholds"] on',
}


def how(kind: Kind, objective: Objective, data: Data) -> str:
    """Returns the code that loads a folder of a kind and predicts a text, or a pair of texts."""
    return _with_predictions(kind, objective, data).replace(TEXTS, PAIRS.get(kind, TEXTS) if data.pairs else TEXTS)


def _with_predictions(kind: Kind, objective: Objective, data: Data) -> str:
    if kind == "sentence-transformers":
        return HOW[kind] + PREDICTIONS[objective] + EMBEDDINGS
    if kind == "onnx":
        code = HOW[kind]
        if data.truncation == "head_tail":
            code = code.replace(ENCODED, HEAD_TAIL).replace("tokenizer = ", SHORTENED, 1)
        return f"{code}{PROBABILITIES[objective]}\nprint(dict(zip(config['labels'], probabilities[0])))"
    return HOW.get(f"{kind}, {objective}", HOW[kind])
