"""Probes of chapter 02, the hardest exercise: packing."""

import torch

from autograder.chapters.c02_sft.conversations import TOPIC, _example, _refusal, _tensors
from autograder.chapters.probing import TINY_LLAMA, seeded
from autograder.exercise import Exercise, Unexpected

pack_examples = Exercise("pack_examples", TOPIC, "Exercise 9: packing", needs=TINY_LLAMA)

_PACKED = ("input_ids", "labels", "position_ids", "attention_mask")


def _examples(seed: int, *lengths: int) -> list[tuple[list[int], list[int]]]:
    """Examples of these lengths, each with a prompt of about a third (the first one, and every other, with none)."""
    examples = []
    for i, length in enumerate(lengths):
        prompt = 0 if i % 2 == 0 else 1 + length // 3
        examples.append(_example(seed + i, prompt, length - prompt))
    return examples


def _packed(answer, examples: list, length: int, pad_id: int) -> dict[str, torch.Tensor]:
    return _tensors(answer(examples, length, pad_id), *_PACKED)


@pack_examples.case
def what_goes_where(answer, seed):
    """Whole examples side by side in rows of `length` tokens, the rest of a row filled up with pad_id."""
    examples = _examples(seed, 5, 4 + seed % 2, 9, 3, 11)
    return {"input_ids": _packed(answer, examples, 13, 2)["input_ids"], "_sizes": {"the length of a row": 13}}


@pack_examples.case
def the_next_row(answer, seed):
    """An example that does not fit begins a new row; the rows before it are closed, and a full row is full."""
    # The fourth would still fit into the first row, and better into the second.
    examples = _examples(seed, 5 + seed % 2, 8, 10, 3, 4, 5, 12, 1 + seed % 3)
    return {"input_ids": _packed(answer, examples, 12, 1)["input_ids"], "_sizes": {"the length of a row": 12}}


@pack_examples.case
def labels_in_rows(answer, seed):
    """Labels stand where their tokens stand, -100 on padding and on the first token of every example."""
    examples = _examples(seed, 4, 3, 3 + seed % 3, 7, 2, 8)
    return {"labels": _packed(answer, examples, 11, 3)["labels"]}


@pack_examples.case
def positions(answer, seed):
    """Positions begin at 0 with every example, and are 0 on padding."""
    examples = _examples(seed, 3, 6, 2 + seed % 3, 8, 4)
    return {"position_ids": _packed(answer, examples, 14, 3)["position_ids"]}


@pack_examples.case
def who_looks_at_whom(answer, seed):
    """Position q looks at k where k is not after q and in the same example; a position of padding looks at itself."""
    mask = _packed(answer, _examples(seed, 3, 4, 2 + seed % 2, 5, 1, 7), 11, 3)["attention_mask"]
    if mask.dtype != torch.bool:
        raise Unexpected(
            f"attention_mask should be bool; yours is {mask.dtype}. PyTorch's attention adds a mask of numbers to the "
            "scores, and only a bool mask says who may look at whom."
        )
    return {"attention_mask": mask}


@pack_examples.case
def examples_of_one_token(answer, seed):
    """An example may have a single token: it looks at itself alone, and has no label."""
    batch = _packed(answer, _examples(seed, 1, 6, *[1] * (2 + seed % 3)), 6, 3)
    return {name: batch[name] for name in ("input_ids", "labels", "attention_mask")}


@pack_examples.case
def padding_with_a_real_token(answer, seed):
    """Many models pad with their end token: where an example really holds it, it is a token like any other."""
    examples = _examples(seed, 4, 5, 3 + seed % 3, 6)
    for ids, labels in examples:
        ids[1] = labels[1] = ids[-1] = labels[-1] = 4
    return _packed(answer, examples, 11, 4)


@pack_examples.case(rule="refusals")
def longer_than_a_row(answer, seed):
    """An example longer than a row: a ValueError with a sentence. One that is as long as a row fills it."""
    fitting = _packed(answer, _examples(seed, 7, 9, 2 + seed % 2), 9, 3)
    too_long = _examples(seed, 3, 10 + seed % 4, 2)
    return {"input_ids": fitting["input_ids"]} | _refusal("an_example_too_long", lambda: answer(too_long, 9, 3))


def _tiny_llama(seed: int):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=91,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng(devices=[]):
        model = LlamaForCausalLM(config).eval()
    g = seeded(seed)
    with torch.no_grad():  # drawn here, by name: how transformers draws its weights may change between versions
        for name, weight in sorted(model.named_parameters()):
            weight.copy_(float("norm" in name) + 0.3 * torch.randn(weight.shape, generator=g))
    return model


@pack_examples.case(rtol=1e-3)
def through_a_model(answer, seed):
    """A small Llama gives the tokens of a packed example the logits it gives them alone."""
    lengths, length = (3 + seed % 2, 5, 2, 7, 4), 12  # two rows: 3 examples and some padding, 2 and one place of it
    batch = _packed(answer, _examples(seed, *lengths), length, 3)
    ids, positions, mask = batch["input_ids"], batch["position_ids"], batch["attention_mask"]
    if ids.shape != (2, length) or positions.shape != ids.shape or mask.shape != (2, 1, length, length):
        raise Unexpected(
            f"Here two rows of {length} tokens are expected, and a mask of shape (2, 1, {length}, {length}); yours are "
            f"{tuple(ids.shape)} (input_ids), {tuple(positions.shape)} (position_ids) and {tuple(mask.shape)}."
        )
    with torch.no_grad():
        logits = _tiny_llama(seed)(input_ids=ids, position_ids=positions, attention_mask=mask).logits
    return {
        "logits_of_the_first_row": logits[0, : sum(lengths[:3]), :7],
        "logits_of_the_second_row": logits[1, : sum(lengths[3:]), :7],
    }
