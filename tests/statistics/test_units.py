"""Copies and near copies are one unit; texts that merely have phrases in common are not."""

from __future__ import annotations

import time

import numpy as np

from src.statistics.units import units


def draw(count: int, words: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    chances = 1 / np.arange(1, 5_001)
    drawn = random.choice(5_000, (count, words), p=chances / chances.sum())
    return [" ".join(f"w{number}" for number in row) for row in drawn]


def same(one: str, other: str) -> bool:
    found = units([one, "quite another text", other])
    assert found[1] not in (found[0], found[2])
    return bool(found[0] == found[2])


def test_pairs_are_copies_if_both_of_their_texts_are() -> None:
    firsts = ["Great value", "great value!", "great value", "bad value"]
    seconds = ["would buy again", "Would buy again.", "would not", "would buy again"]
    found = units(firsts, seconds)
    assert found[0] == found[1]
    assert len(set(found.tolist())) == 3


def test_texts_with_the_same_words_are_copies_whatever_their_case_and_punctuation() -> None:
    assert same("Great value, would buy again!", "great value - would buy again")
    assert same("Straße", "STRASSE")
    assert not same("Great value", "Great values")
    assert not same("a bc", "ab c")
    assert not same("👍", "👎")
    assert same("👍", "👍 ")


def test_a_text_that_contains_most_of_another_is_a_near_copy() -> None:
    text, other = draw(2, 40)
    words = text.split()
    assert same(text, f"{text} {other}")
    assert same(text, " ".join([*words[:20], "changed", *words[21:]]))  # 31 of 36 sequences
    assert same(" ".join(words[:30]), " ".join(words[4:]))  # 22 of 26: windows of one document
    assert not same(" ".join(words[:30]), " ".join(words[10:]))  # 16 of 26
    assert not same(" ".join(words[:7]), " ".join(words[:6]))  # too short to say


def test_what_is_connected_through_a_third_text_is_one_unit() -> None:
    words = draw(1, 48)[0].split()
    first, second, third = (" ".join(words[i : i + 40]) for i in (0, 4, 8))
    assert len(set(units([first, third]))) == 2  # 28 of 36 sequences
    assert len(set(units([first, second, third]))) == 1


def test_a_sentence_in_every_text_makes_no_copies_and_order_changes_nothing() -> None:
    texts = [f"{text} all rights reserved by the owner of this web site" for text in draw(300, 30)]
    texts += [f"{text} indeed" for text in texts[:40]]
    found = units(texts)
    assert len(set(found)) == 300
    assert (found[:40] == found[300:]).all()
    order = np.random.default_rng(1).permutation(len(texts))
    again = units([texts[i] for i in order])
    assert ((again[:, None] == again) == (found[order][:, None] == found[order])).all()


def test_ten_thousand_texts_take_seconds() -> None:
    texts = draw(10_000, 30)
    begin = time.process_time()
    assert len(set(units(texts))) == 10_000
    assert time.process_time() - begin < 3


def test_there_may_be_no_texts_or_short_ones_only() -> None:
    assert units([]).tolist() == []
    assert len(set(units(["a", "b", "A"]))) == 2
