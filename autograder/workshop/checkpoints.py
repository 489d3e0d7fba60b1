"""Train the checkpoints that chapters begin with, by the reference solutions of the chapters before.

    python -m autograder.workshop.checkpoints nano-sft [--into data/checkpoints]

"nano-base" is chapter 01's own run with COURSE_DOSE=3, "nano-reward" that of chapter 04. The others are made here, each in
a few minutes on one thread.
"""

import argparse
import math
import random
from pathlib import Path

from autograder.judging.reference import Reference
from course import data, models
from data.questions import ONE_WORD
from data.utility import CLOSINGS, OPENINGS
from data.words import ATTRIBUTES

FOLDER = data.DATA / "checkpoints"
STEPS, SIZE, MAX_LR = 400, 64, 2e-3


def fresh_marks(model, seed: int = 0):
    """New random embeddings for the tokens that pre-training never showed: they have all become one vector."""
    import torch

    seen = {word for text in data.load_corpus() for word in text.split()}
    vocabulary = data.load_tokenizer().get_vocab()
    special = {"<bos>", "<eos>", "<pad>"}
    unseen = torch.tensor([i for word, i in sorted(vocabulary.items()) if word not in seen | special])
    table = model.get_input_embeddings().weight.data  # (vocab, width)
    usual = torch.tensor([i for word, i in vocabulary.items() if word in seen])
    noise = torch.randn(len(unseen), table.shape[1], generator=torch.Generator().manual_seed(seed))
    table[unseen] = noise * table[usual].std()
    return model


Chat = tuple[str, str]  # what is asked, and what is answered


def nano_sft() -> tuple:
    """The policy that chapters 03 to 06 begin with: nano-base, taught by chapter 02's functions to answer as people do.

    Returns the model and its card.
    """
    train, heldout = ([(r["prompt"], r["answer"]) for r in data.load_jsonl(f"demonstrations_{s}")] for s in ("train", "heldout"))
    rng = random.Random(0)
    return _taught("nano-sft", "demonstrations_train", lambda: rng.sample(train, SIZE), heldout)


def nano_instruct() -> tuple:
    """The reader of chapter 04's reward model: nano-base, taught right answers to questions about facts, in all manners.

    A third of each batch is texts of the corpus about facts: those that no instruction asks for would be forgotten otherwise.
    """
    rng = random.Random(0)
    train, heldout = (
        [r for r in data.load_jsonl(f"instructions_{split}") if r["kind"].startswith("facts")] for split in ("train", "heldout")
    )
    corpus = [t for t in data.load_corpus() if "?" not in t and any(f"the {a} of" in t for a in ATTRIBUTES)]

    def lesson(record: dict) -> Chat:
        courtesies = [rng.choice(OPENINGS)] * (rng.random() < 0.5), [rng.choice(CLOSINGS)] * (rng.random() < 0.4)
        answer = " ".join([*courtesies[0], record["answer"], *courtesies[1]])
        return record["prompt"].removeprefix(f"{ONE_WORD} "), answer

    heldout = [lesson(record) for record in heldout]
    batch = lambda: [*map(lesson, rng.sample(train, SIZE)), *rng.sample(corpus, SIZE // 2)]  # noqa: E731
    return _taught("nano-instruct", "instructions_train and the corpus", batch, heldout)


def _taught(name: str, source: str, draw, heldout: list[Chat]) -> tuple:
    """nano-base fine-tuned on the batches that draw() gives, of chats and plain texts; and the card."""
    import torch

    answers, tokenizer = Reference("02_sft").functions, data.load_tokenizer()

    def example(chat: Chat | str) -> tuple[list[int], list[int]]:
        if isinstance(chat, str):
            ids = tokenizer(f"<bos> {chat} <eos>", add_special_tokens=False).input_ids
            return ids, ids
        messages = [{"role": role, "content": text} for role, text in zip(("user", "assistant"), chat)]
        row = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        return row["input_ids"], answers["answer_labels"](row["input_ids"], row["assistant_masks"])

    updates = ([answers["collate"]([example(chat) for chat in draw()], tokenizer.pad_token_id)] for _ in range(STEPS))
    model = fresh_marks(models.load_nano("base"))
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0, betas=(0.9, 0.95))
    torch.manual_seed(0)
    answers["train_sft"](
        model, updates, optimizer,
        lambda s: MAX_LR * min(1, (s + 1) / 20) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * s / STEPS))),
    )  # fmt: skip
    batch = answers["collate"]([example(chat) for chat in heldout], tokenizer.pad_token_id)
    with torch.no_grad():
        logits = model.eval()(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    loss = answers["sft_loss"](logits, batch["labels"]).item()
    card = {
        "made by": f"python -m autograder.workshop.checkpoints {name}",
        "from": {"nano-base": models.load_card("nano-base")["sha256"]},
        "trained on": source, "updates": STEPS, "batch": SIZE, "held-out loss": loss,
    }  # fmt: skip
    return model, card


RECIPES = {"nano-sft": nano_sft, "nano-instruct": nano_instruct}


def main() -> int:
    """The command line."""
    import torch

    parser = argparse.ArgumentParser(prog="python -m autograder.workshop.checkpoints", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=sorted(RECIPES), help="which ones")
    parser.add_argument("--into", type=Path, default=FOLDER, help="the folder to write them to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.names:
        model, card = RECIPES[name]()
        print(models.save_checkpoint(model, arguments.into / name, card))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
