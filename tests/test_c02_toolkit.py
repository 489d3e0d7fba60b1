"""What chapter 02's notebook takes from the toolkit: batches by length, what a mistake costs, drawings, a manner."""

import random
import xml.etree.ElementTree as ElementTree
from collections import Counter

import pytest
import torch

from course import batches, data, exposure, hub, manners, plots
from course.drawings import c02 as drawings


def test_updates_draw_each_example_once_an_epoch_and_put_similar_lengths_together():
    examples = [([i] * (1 + i % 17), []) for i in range(60)]
    lengths_of = lambda pairs: {"n": torch.tensor([len(ids) for ids, _ in pairs])}  # noqa: E731
    updates = list(batches.updates_by_length(examples, 5, 12, 3, lengths_of, 1))
    assert [[len(batch["n"]) for batch in update] for update in updates] == [[4, 4, 4]] * 5
    lengths = [n for update in updates for batch in update for n in batch["n"].tolist()]
    assert Counter(lengths) == Counter(len(ids) for ids, _ in examples), "60 examples, five updates of 12: an epoch"
    for update in updates:
        flat = [n for batch in update for n in batch["n"].tolist()]
        assert flat == sorted(flat)


def test_few_examples_make_smaller_updates():
    seen = list(batches.updates_by_length([([1], []), ([2, 3], [])], 3, 32, 2, lambda pairs: {"n": torch.tensor(len(pairs))}, 0))
    assert [[int(batch["n"]) for batch in update] for update in seen] == [[1, 1]] * 3


def test_padding_share():
    assert batches.padding_share([2, 4, 6, 6], 2) == pytest.approx(2 / 20)


class Parrot(torch.nn.Module):
    """Says the token after the last one, counting up; after 7 it says 3 where it should say 8."""

    device = "cpu"

    def forward(self, ids):
        following = torch.where(ids == 7, 3, ids + 1)
        return type("Output", (), {"logits": torch.nn.functional.one_hot(following, 20).float()})


def test_what_a_mistake_costs_is_counted_behind_the_first():
    example = ([5, 6, 7, 8, 9, 10], [-100, 6, 7, 8, 9, 10])
    own = [6, 7, 3, 4, 5, 6]
    found = exposure.after_the_first_mistake(Parrot(), [example, ([1, 2, 3], [-100, 2, 3])], [own, [2, 3]])
    # After the true 8 it says 9, 10; after its own 3 it says 4, and then, after the true 9, 10.
    assert found == {"answers": 1, "true words": 1.0, "one wrong word": 0.5, "own words": 0.0, "at any place": 0.0}


def test_words_at_other_places_are_found():
    assert exposure._common([4, 9, 5, 10], [9, 10]) == 2 and exposure._common([10, 9], [9, 10]) == 1
    rng = random.Random(0)
    for _ in range(50):
        a, b = ([rng.randrange(3) for _ in range(rng.randrange(7))] for _ in range(2))
        assert exposure._common(a, b) == exposure._common(b, a) <= min(len(a), len(b))


def test_without_a_chat_model_the_nano_model_learns_a_manner(monkeypatch):
    def none():
        raise hub.NoChatModel("there is none")

    monkeypatch.setattr(hub, "load_chat_model", none)
    records = data.load_jsonl("instructions_train")[:300]
    manner = manners.load_manner(24, torch.nn.Linear(1, 1), data.load_tokenizer(), records, records[:9])
    assert not manner.real and "there is none" in manner.note and len(manner.train) == 240 and len(manner.heldout) == 3
    for record in manner.train[:20]:
        assert manner.in_manner(record["answer"]) and not manner.in_manner(record["plain"])
        assert manner.names_fact(record["answer"], record["fact"])
        assert manner.encode(record["answer"])


TALK = [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "c"}, {"role": "tool", "content": "1"}]


@pytest.mark.parametrize(
    "drawing",
    [
        drawings.chat_with_mask(TALK),
        drawings.padding_sides(["a", "b", "c"], ["d"]),
        drawings.two_means([2, 6]),
        drawings.packed_row([4, 3, 3], 12),
        drawings.three_beginnings(["a", "b", "c"], 1, "x", ["a", "x", "y"]),
    ],
    ids=["chat", "padding", "means", "packing", "beginnings"],
)
def test_a_drawing_is_a_picture_with_a_text(drawing):
    root = ElementTree.fromstring(drawing.svg())
    assert drawing.width <= 600 and len(drawing.alt) > 60 and root.get("aria-label") == drawing.alt
    sizes = [float(node.get("font-size")) for node in root.iter() if node.get("font-size")]
    assert sizes and min(sizes) >= 12


def test_the_drawing_of_a_mask_colours_what_the_assistant_says():
    root = ElementTree.fromstring(drawings.chat_with_mask(TALK).svg())
    filled = [node for node in root.iter() if node.get("fill") == plots.GREEN]
    assert len(filled) == 2 + 1, "one word, its end mark, and the legend"
