"""Texts that are copies of each other, or nearly, count as one unit."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt64
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from src.arrays import NDArray

SHINGLE = 5  # words (Broder 1997)


FEWEST_WORDS = 8  # shorter texts are only compared as a whole


CONTAINMENT = 0.8  # of the shorter text's shingles, from which two texts are near copies


ORDERS = 8  # of the texts, in which neighbours that share a shingle are compared


Numbers = Int[NDArray[np.int64], "..."]


def units(*sides: Sequence[str]) -> Int[NDArray[np.int64], " texts"]:
    """Returns the number of the unit of each text.

    Args:
        sides: the texts; of pairs, the first texts and the second texts. Two pairs are of one unit if their first texts
            are of one unit, and their second texts too.
    """
    numbers = [_units(side) for side in sides]
    if len(numbers) == 1:
        return numbers[0]
    return np.asarray(np.unique(np.stack(numbers), axis=1, return_inverse=True)[1].ravel(), dtype=np.int64)


def _units(texts: Sequence[str]) -> Int[NDArray[np.int64], " texts"]:
    """Two texts are of one unit if they have the same words, apart from case and punctuation, or if the longer one
    contains at least 80% of the five-word sequences of the shorter one, which has at least eight words (Broder 1997:
    containment of shingles); and so is what is connected through other texts.
    """
    words = [re.findall(r"\w+", text.casefold()) for text in texts]
    # A text without any word, such as an emoji, is only a copy of the same text.
    keys = [" ".join(found) or f" {text.strip()}" for found, text in zip(words, texts, strict=True)]
    numbers = {key: number for number, key in enumerate(sorted(set(keys)))}
    whole = np.array([numbers[key] for key in keys], dtype=np.int64)
    _, first = np.unique(whole, return_index=True)
    one, other = _near_copies([words[i] for i in first])
    graph = sparse.coo_matrix((np.ones(len(one)), (one, other)), shape=(len(first), len(first)))
    unit: Numbers = connected_components(graph, directed=False)[1].astype(np.int64)
    return unit[whole]


def _near_copies(texts: Sequence[Sequence[str]]) -> tuple[Numbers, Numbers]:
    """Returns pairs of near copies among different texts.

    Texts that share a shingle are compared with their neighbours in an order of all texts that have it, so that a
    shingle that very many texts share costs no more than any other.
    """
    text, shingle = _shingles(texts)
    orders = np.tile(np.arange(len(texts)), (ORDERS, 1))  # the first is alphabetical, the others are random
    orders[1:] = np.random.default_rng(0).permuted(orders[1:], axis=1)
    order = np.lexsort((orders[shingle % ORDERS, text], shingle))
    text, shingle = text[order], shingle[order]
    distinct = np.append(True, (text[1:] != text[:-1]) | (shingle[1:] != shingle[:-1]))[: len(text)]
    text, shingle = text[distinct], shingle[distinct]
    same = shingle[1:] == shingle[:-1]
    pairs = np.unique(np.sort(np.stack([text[:-1][same], text[1:][same]]), axis=0), axis=1)
    near = _shared(text, shingle, pairs) >= CONTAINMENT * np.bincount(text, minlength=len(texts))[pairs].min(0)
    return pairs[0, near], pairs[1, near]


def _shared(text: Numbers, shingle: Numbers, pairs: Numbers) -> Numbers:
    """Returns how many shingles the two texts of each pair share; `shingle` is sorted."""
    if not pairs.size:
        return np.empty(0, np.int64)
    column = np.cumsum(np.append(False, shingle[1:] != shingle[:-1]))
    table = sparse.csr_matrix((np.ones(len(text), np.int64), (text, column)))
    return np.asarray(table[pairs[0]].multiply(table[pairs[1]]).sum(1)).ravel()


def _shingles(texts: Sequence[Sequence[str]]) -> tuple[Numbers, Numbers]:
    """Returns text and hash of each sequence of words."""
    long = [i for i, text in enumerate(texts) if len(text) >= FEWEST_WORDS]
    if not long:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    text = np.repeat(long, [len(texts[i]) for i in long])
    inside = text[SHINGLE - 1 :] == text[: len(text) - SHINGLE + 1]
    return text[SHINGLE - 1 :][inside], _hashes([word for i in long for word in texts[i]])[inside]


def _hashes(words: Sequence[str]) -> Numbers:
    """Returns a 63-bit hash of each sequence of `SHINGLE` words: a sum of random numbers of word and position."""
    numbers = {word: number for number, word in enumerate(sorted(set(words)))}
    flat = np.fromiter((numbers[word] for word in words), np.int64, len(words))
    drawn = np.random.default_rng(0).integers(2**64, size=(SHINGLE, len(numbers)), dtype=np.uint64)
    count = len(words) - SHINGLE + 1
    found: UInt64[NDArray[np.uint64], " sequences"] = drawn[0][flat[:count]]
    for position in range(1, SHINGLE):
        found = found + drawn[position][flat[position : position + count]]
    return (found >> np.uint64(1)).astype(np.int64)
