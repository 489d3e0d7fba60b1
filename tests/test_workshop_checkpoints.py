"""The shipped checkpoints are what their cards say, and what the chapters that begin with them need."""

import pytest
import torch

from autograder.judging.reference import Reference
from course import data, models, reward
from data.questions import understand


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


@pytest.mark.parametrize(
    ("name", "made_from"), [("nano-sft", "nano-base"), ("nano-instruct", "nano-base"), ("nano-reward", "nano-instruct")]
)
def test_checkpoints_are_made_from_one_another(name, made_from):
    """Whoever trains one of them again has to train again what was made from it."""
    assert models.load_card(name)["from"] == {made_from: models.load_card(made_from)["sha256"]}


def padded_rows(texts: list[tuple[str, str]], tokenizer, side: str = "right"):
    """Input ids and attention mask of (prompt, answer) pairs in the chat format."""
    rows = [f"<bos> <user> {prompt} <end> <assistant> {answer} <end>" for prompt, answer in texts]
    batch = tokenizer(rows, padding=True, padding_side=side, add_special_tokens=False, return_tensors="pt")
    return batch.input_ids, batch.attention_mask


@pytest.fixture(scope="module")
def comparisons() -> list[dict]:
    """The held-out comparisons about facts, which the reward model has learned to judge."""
    return [r for r in data.load_jsonl("preferences_heldout") if understand(r["prompt"]).kind == "facts"]


def test_the_reward_model_judges_as_its_card_says(tokenizer, comparisons):
    model = models.load_nano("reward")
    with torch.no_grad():
        rewards = [
            model(*padded_rows([(r["prompt"], r[name]) for r in comparisons], tokenizer)).logits[:, 0]
            for name in ("chosen", "rejected")
        ]
    accuracy = (rewards[0] > rewards[1]).float().mean().item()
    assert accuracy == pytest.approx(models.load_card("nano-reward")["accuracy"], abs=0.01)


def test_the_reward_does_not_depend_on_padding(tokenizer, comparisons):
    texts = [(r["prompt"], r["chosen"]) for r in comparisons[:9]]
    model = models.load_nano("reward")
    with torch.no_grad():
        right, left = (model(*padded_rows(texts, tokenizer, side)).logits[:, 0] for side in ("right", "left"))
        alone = torch.cat([model(padded_rows([text], tokenizer)[0]).logits[:, 0] for text in texts])
    torch.testing.assert_close(right, left, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(right, alone, rtol=1e-4, atol=1e-4)


def test_expectations_are_log_probabilities_of_the_next_token(tokenizer, comparisons):
    reader = models.load_nano("instruct")
    ids, mask = padded_rows([(comparisons[0]["prompt"], comparisons[0]["chosen"])], tokenizer)
    with torch.no_grad():
        logps = reward.expectations(reader, ids, mask)
        loss = reader(ids, labels=ids).loss
    assert logps[0, 0] == 0 and -logps[0, 1:].mean().item() == pytest.approx(loss.item(), abs=1e-5)
