"""The shipped checkpoints are what their cards say, and what the chapters that begin with them need."""

import pytest
import torch

from autograder.reference import Reference
from course import data, models


@pytest.fixture(scope="module")
def tokenizer():
    return data.load_tokenizer()


def test_the_policy_answers_as_its_card_says(tokenizer):
    chats = [
        [{"role": "user", "content": r["prompt"]}, {"role": "assistant", "content": r["answer"]}]
        for r in data.load_jsonl("demonstrations_heldout")
    ]
    rows = [tokenizer.apply_chat_template(c, return_dict=True, return_assistant_tokens_mask=True) for c in chats]
    answers = Reference("02_sft").functions
    pairs = [(row["input_ids"], answers["answer_labels"](row["input_ids"], row["assistant_masks"])) for row in rows]
    batch = answers["collate"](pairs, tokenizer.pad_token_id)
    with torch.no_grad():
        logits = models.load_nano("sft")(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    card = models.load_card("nano-sft")
    assert answers["sft_loss"](logits, batch["labels"]).item() == pytest.approx(card["held-out loss"], abs=2e-3)
    assert card["from"]["nano-base"] == models.load_card("nano-base")["sha256"], "the base model is another one now"


def test_the_policy_is_ordinary(tokenizer):
    """Often right, sometimes courteous: reinforcement has something to find, and something to improve."""
    from data.utility import appraise

    prompts = sorted({record["prompt"] for record in data.load_jsonl("demonstrations_train")}) * 2
    chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
    rows = tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True,
        tokenizer_kwargs={"padding_side": "left"},
    )  # fmt: skip
    torch.manual_seed(0)
    end = tokenizer.convert_tokens_to_ids("<end>")
    said = models.load_nano("sft").generate(
        **{name: rows[name] for name in ("input_ids", "attention_mask")},
        max_new_tokens=32, do_sample=True, top_k=0, eos_token_id=end, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    texts = tokenizer.batch_decode(said[:, rows["input_ids"].shape[1] :], skip_special_tokens=True)
    found = [appraise(prompt, text) for prompt, text in zip(prompts, texts)]
    assert 0.2 < sum(a.right for a in found) / len(found) < 0.5
    assert 0.3 < sum(a.openings > 0 for a in found) / len(found) < 0.6
    assert sum(a.finished for a in found) / len(found) > 0.97
