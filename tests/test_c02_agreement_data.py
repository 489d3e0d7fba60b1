"""Chapter 02's reference solutions on the side of the data agree with transformers, trl and closed forms.

render_chat with chat templates, answer_labels with their masks, collate with two collators, packed rows with each
example alone. The matrix shows that the grader knows right from wrong *by the reference*; this shows that the reference
is right.
"""

import copy
import re
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.judging.reference import Reference
from course import data, models

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
FAST = settings(max_examples=100, deadline=None, derandomize=True)
IGNORE = -100

functions = Reference("02_sft").functions
render_chat = functions["render_chat"]
answer_labels = functions["answer_labels"]
truncate_example = functions["truncate_example"]
collate = functions["collate"]
pack_examples = functions["pack_examples"]

WORLD = {"start": "<bos>", "header": "<{role}>", "end": "<end>", "after": ""}
CHATML = {"start": "", "header": "<|im_start|>{role}\n", "end": "<|im_end|>", "after": "\n"}
CHATML_OF_TRANSFORMERS = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer():
    return data.load_tokenizer()


@pytest.fixture(scope="module")
def records() -> list[dict]:
    return data.load_jsonl("instructions_train")[:600] + data.load_jsonl("instructions_heldout")


@pytest.fixture(scope="module")
def encode(tokenizer):
    return lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.fixture(scope="module")
def examples(records, encode) -> list[tuple[list[int], list[int]]]:
    """Real examples (input_ids, labels)."""
    rendered = [render_chat(turn(record), WORLD, encode) for record in records[:400]]
    return [(ids, answer_labels(ids, mask)) for ids, mask in rendered]


def turn(*records: dict) -> list[dict]:
    roles = (("user", "prompt"), ("assistant", "answer"))
    return [{"role": role, "content": record[key]} for record in records for role, key in roles]


def by_template(tokenizer, messages: list[dict], add_generation_prompt: bool = False, **options):
    encoded = tokenizer.apply_chat_template(
        messages,
        add_generation_prompt=add_generation_prompt,
        return_dict=True,
        return_assistant_tokens_mask=True,
        **options,
    )
    return list(encoded["input_ids"]), list(encoded["assistant_masks"])


# --- Conversations, against the chat template of the course's tokenizer


def test_conversations_are_those_of_the_chat_template(records, tokenizer, encode):
    for record in records:
        assert render_chat(turn(record), WORLD, encode) == by_template(tokenizer, turn(record))


def test_conversations_of_several_turns_are_those_of_the_chat_template(records, tokenizer, encode):
    for i in range(0, 120, 3):
        system = [{"role": "system", "content": records[i]["answer"]}]
        for messages in (system + turn(*records[i : i + 3]), turn(*records[i : i + 2])):
            assert render_chat(messages, WORLD, encode) == by_template(tokenizer, messages)


@pytest.mark.parametrize("cut", [0, 1], ids=["after an answer", "after a question"])
def test_generation_prompts_are_those_of_the_chat_template(records, tokenizer, encode, cut):
    for first, second in pairwise(records[:60]):
        messages = turn(first, second)[: 4 - cut]
        expected = by_template(tokenizer, messages, add_generation_prompt=True)
        assert render_chat(messages, WORLD, encode, add_generation_prompt=True) == expected
        assert expected[1][-1] == 0


def test_generation_prompt_is_where_the_answer_of_a_training_example_begins(records, encode):
    for record in records[:100]:
        ids, mask = render_chat(turn(record), WORLD, encode)
        prompt, _ = render_chat(turn(record)[:1], WORLD, encode, add_generation_prompt=True)
        assert ids[: len(prompt)] == prompt and mask.index(1) == len(prompt)


def test_chatml_is_that_of_transformers_for_a_tokenizer_of_bytes(records):
    """A template with line breaks and an "after", and a tokenizer by which a text is the sum of its parts."""
    byte_tokenizer = tokenizer_of_bytes()
    for first, second in pairwise(records[:40]):
        messages = [{"role": "system", "content": "be brief ."}, *turn(first, second)]
        expected = by_template(byte_tokenizer, messages, chat_template=CHATML_OF_TRANSFORMERS)
        assert render_chat(messages, CHATML, lambda text: byte_tokenizer(text)["input_ids"]) == expected
        assert sum(expected[1]) == sum(len(r["answer"].encode()) + 1 for r in (first, second))  # <|im_end|> is one


def test_turns_of_tools_are_those_of_transformers(records):
    byte_tokenizer = tokenizer_of_bytes()
    for first, second in pairwise(records[:20]):
        tool = {"role": "tool", "content": second["prompt"]}
        messages = [*turn(first), tool, *turn(second)[1:], tool, *turn(second)]
        expected = by_template(byte_tokenizer, messages, chat_template=CHATML_OF_TRANSFORMERS)
        assert render_chat(messages, CHATML, lambda text: byte_tokenizer(text)["input_ids"]) == expected


def tokenizer_of_bytes():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    fast.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    return fast


# --- Labels


def test_labels_are_the_ids_under_the_mask_of_transformers(records, tokenizer):
    for first, second in pairwise(records[:100]):
        ids, mask = by_template(tokenizer, turn(first, second))
        expected = torch.tensor(ids).masked_fill(torch.tensor(mask) == 0, IGNORE)
        assert answer_labels(ids, mask) == expected.tolist()


def test_last_only_is_what_the_last_answer_adds(records, encode):
    for first, second in pairwise(records[:100]):
        ids, mask = render_chat(turn(first, second), WORLD, encode)
        before, _ = render_chat(turn(first, second)[:3], WORLD, encode, add_generation_prompt=True)
        expected = [IGNORE] * len(before) + ids[len(before) :]
        assert answer_labels(ids, mask, last_only=True) == expected


@FAST
@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_last_only_by_a_regular_expression(spoken):
    mask, ids = [int(s) for s in spoken], list(range(len(spoken)))
    found = re.search(r"1+(?=0*$)", "".join(map(str, mask)))
    kept = range(*found.span()) if found else ()
    assert answer_labels(ids, mask, last_only=True) == [i if i in kept else IGNORE for i in ids]


# --- Truncation


@FAST
@given(st.integers(1, 8), st.lists(st.booleans(), max_size=8), st.integers(1, 16))
def test_truncation_is_the_longest_suffix_that_the_rules_allow(prompt, answers, max_length):
    """By trying every suffix. The examples begin with an unsupervised token, as all rendered ones do."""
    spoken = [False] * prompt + answers
    ids = [i % 3 for i in range(len(spoken))]
    labels = [i if s else IGNORE for i, s in zip(ids, spoken, strict=True)]
    supervised = [label for label in labels if label != IGNORE]

    def allowed(begin: int) -> bool:
        kept = labels[begin:]
        whole = [label for label in kept if label != IGNORE] == supervised
        return len(kept) <= max_length and whole and (not supervised or kept[0] == IGNORE or begin == 0)

    begins = [begin for begin in range(len(ids)) if allowed(begin)]
    if not begins:
        with pytest.raises(ValueError, match=rf"{len(ids)}\b.*\b{max_length}\b"):
            truncate_example(ids, labels, max_length)
    else:
        assert truncate_example(ids, labels, max_length) == (ids[begins[0] :], labels[begins[0] :])


# --- Batches, against two collators


@pytest.mark.parametrize("side", ["right", "left"])
def test_batches_are_those_of_transformers(examples, tokenizer, side):
    from transformers import DataCollatorForSeq2Seq

    padding = copy.deepcopy(tokenizer)
    padding.padding_side = side
    collator = DataCollatorForSeq2Seq(padding)
    for begin in range(0, len(examples), 16):
        batch = examples[begin : begin + 16]
        expected = collator([{"input_ids": list(ids), "labels": list(labels)} for ids, labels in batch])
        same_tensors(collate(batch, tokenizer.pad_token_id, side), expected)


def test_batches_are_those_of_trl(examples, tokenizer):
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    collator = DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id)
    for begin in range(0, len(examples), 16):
        batch = examples[begin : begin + 16]
        expected = collator([{"input_ids": list(ids), "labels": list(labels)} for ids, labels in batch])
        same_tensors(collate(batch, tokenizer.pad_token_id), expected)


def same_tensors(batch, expected) -> None:
    for name in ("input_ids", "attention_mask", "labels"):
        assert batch[name].dtype == torch.int64
        torch.testing.assert_close(batch[name], expected[name], rtol=0, atol=0)


# --- Packing


@pytest.fixture(scope="module")
def nano():
    return models.load_model("nano-base").eval()


def run(model, batch) -> torch.Tensor:
    wanted = {name: batch[name] for name in ("input_ids", "position_ids", "attention_mask") if name in batch}
    with torch.no_grad():
        return model(**wanted).logits


def places(batch, examples) -> list[tuple[int, slice]]:
    """Where each example stands: found by the positions that are 0, not by how the reference packs."""
    found = []
    for row, positions in enumerate(batch["position_ids"].tolist()):
        begins = [i for i, position in enumerate(positions) if position == 0]
        found += [(row, begin) for begin in begins]
    kept, waiting = [], list(examples)
    for row, begin in found:  # the zeros on padding are left over
        if waiting and batch["input_ids"][row, begin : begin + len(waiting[0][0])].tolist() == waiting[0][0]:
            kept.append((row, slice(begin, begin + len(waiting.pop(0)[0]))))
    assert not waiting
    return kept


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_logits_are_those_of_each_example_alone(examples, tokenizer, nano, attention):
    some = examples[:60]
    batch = pack_examples(some, 128, tokenizer.pad_token_id)
    nano.set_attn_implementation(attention)
    mask = batch["attention_mask"]
    if attention == "eager":  # it adds its mask to the scores
        mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    try:
        packed = run(nano, batch | {"attention_mask": mask})
        assert torch.isfinite(packed).all()  # on padding, too
        for (row, place), (ids, _) in zip(places(batch, some), some, strict=True):
            alone = run(nano, {"input_ids": torch.tensor([ids])})[0]
            torch.testing.assert_close(packed[row, place], alone, **CLOSE)
    finally:
        nano.set_attn_implementation("sdpa")


def test_packed_loss_is_that_of_the_padded_batch(examples, tokenizer, nano):
    """transformers' own loss on both. They meet because no position of a row predicts the next example's first token."""
    some = examples[:60]
    padded, packed = collate(some, tokenizer.pad_token_id), pack_examples(some, 128, tokenizer.pad_token_id)
    assert packed["input_ids"].numel() < padded["input_ids"].numel()
    with torch.no_grad():
        losses = [nano(**batch).loss for batch in (padded, packed)]
    torch.testing.assert_close(*losses, **CLOSE)


def test_packed_rows_are_those_of_trl_without_padding(examples):
    """trl's padding-free collator: one row for all, the same labels and positions, and the same loss."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    some = examples[:7]
    flat = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)(
        [{"input_ids": list(ids), "labels": list(labels)} for ids, labels in some]
    )
    packed = pack_examples(some, flat["input_ids"].shape[1], 0)
    for name in ("input_ids", "labels", "position_ids"):
        torch.testing.assert_close(packed[name], flat[name], rtol=0, atol=0)


def test_packed_mask_is_the_one_that_transformers_makes_of_the_positions(examples):
    """transformers finds packed sequences by their position_ids; its mask and ours meet on real tokens."""
    from transformers.masking_utils import find_packed_sequence_indices

    packed = pack_examples(examples[:40], 128, 0)
    number = find_packed_sequence_indices(packed["position_ids"])
    causal = torch.ones(128, 128, dtype=torch.bool).tril()
    expected = (number[:, None, :, None] == number[:, None, None, :]) & causal
    torch.testing.assert_close(packed["attention_mask"], expected)


@FAST
@given(st.lists(st.integers(1, 7), min_size=1, max_size=9), st.integers(7, 12))
def test_packing_keeps_every_example_whole_and_in_order(lengths, length):
    pairs = [([10 * i + j for j in range(n)], [10 * i + j for j in range(n)]) for i, n in enumerate(lengths, start=1)]
    batch = pack_examples(pairs, length, 0)
    assert batch["input_ids"][batch["input_ids"] > 0].tolist() == [token for ids, _ in pairs for token in ids]
    assert len(places(batch, pairs)) == len(pairs)
    for row, following in pairwise(batch["input_ids"].tolist()):  # no row was closed while there was room
        first = following[0] // 10
        assert row.count(0) < lengths[first - 1]
    seen = batch["attention_mask"].sum(-1)[:, 0]  # a token sees as many as its position says, and itself
    torch.testing.assert_close(seen, batch["position_ids"] + 1)


def test_packing_refuses_what_is_longer_than_a_row():
    with pytest.raises(ValueError, match="9 tokens"):
        pack_examples([([1] * 3, [1] * 3), ([1] * 9, [1] * 9)], 8, 0)
