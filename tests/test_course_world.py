"""The toolkit around chapter 01: batches, pairs of sentences, what an n-gram's loss consists of, what the world can write."""

import math
from collections import Counter

import pytest
import torch

from course import batching, data, ngrams, sentences, world


def test_batches_hold_every_row_once_and_little_padding():
    lengths = torch.randint(3, 60, (320,), generator=torch.Generator().manual_seed(0))
    rows = torch.arange(320)[:, None].expand(-1, 60)
    batches = list(batching.batches_of([rows, lengths], lengths, 16, 20, seed=1))
    assert sorted(int(row[0]) for ids, _ in batches for row in ids) == list(range(320))
    assert all(ids.shape[1] == int(own.max()) for ids, own in batches)
    filling = sum(int((ids.shape[1] - own).sum()) for ids, own in batches) / sum(ids.numel() for ids, _ in batches)
    assert filling < 0.1
    again = list(batching.batches_of([rows, lengths], lengths, 16, 20, seed=1))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(batches, again))


def test_pairs_are_encoded_as_bert_reads_them():
    tokenizer = data.load_tokenizer()
    pairs = sentences.encode_pairs([("mia had a hat .", "leo was sad .", True), ("now .", "then mia .", False)], tokenizer)
    first, second = tokenizer.convert_ids_to_tokens(pairs.input_ids[1]), pairs.token_type_ids[1].tolist()
    assert first[:8] == ["<cls>", "now", ".", "<sep>", "then", "mia", ".", "<sep>"] and set(first[8:]) == {"<pad>"}
    assert second[:8] == [0, 0, 0, 0, 1, 1, 1, 1] and not any(second[8:])
    assert pairs.attention_mask.sum(-1).tolist() == [12, 8] and pairs.is_next.tolist() == [1, 0]
    assert sentences.sentences("mia had a hat . leo was sad .") == ["mia had a hat .", "leo was sad ."]


def test_the_parts_of_an_ngrams_loss_sum_to_it():
    counts = {(1,): Counter({2: 3, 3: 1})}
    parts = ngrams.where_the_loss_is(counts, [[1, 2, 4], [1, 4]], 2, 5, 0.5)
    costs = [-math.log(3.5 / 6.5), -math.log(0.5 / 2.5), -math.log(0.5 / 6.5)]
    assert sum(part["cost"] for part in parts.values()) == pytest.approx(sum(costs) / 3)
    assert [part["share"] for part in parts.values()] == pytest.approx([1 / 3] * 3)
    assert parts["context unseen"]["cost"] == pytest.approx(math.log(5) / 3)


def test_documents_as_characters():
    documents, size = ngrams.as_characters(["ab", "b a"])
    assert size == 5 and [len(document) for document in documents] == [4, 5]
    assert all(document[0] == 0 and document[-1] == 1 for document in documents)


def test_the_world_knows_what_it_could_have_written():
    for kind in ("story", "facts", "sums", "copying", "questions"):
        text = data.load_heldout(kind)[0].text
        words = text.split()
        assert world.is_possible(text) and world.is_possible(f"{text} <eos>") and world.possible_words(text) == len(words)
        assert not world.is_possible(" ".join([*words[:5], "sorel", "sorel"]))
        assert world.possible_words(" ".join([*words[:5], "<unk>", *words[5:]])) == 5
    assert world.possible_words(f"{text} <eos>") == len(words) + 1
    assert world.possible_words("") == 0
