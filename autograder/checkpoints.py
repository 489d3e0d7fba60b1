"""Train the checkpoints that chapters begin with, by the reference solutions of the chapters before.

    python -m autograder.checkpoints nano-sft [--into data/checkpoints]

"nano-base" is chapter 01's own run with COURSE_DOSE=3. The others are made here, each in about a minute on one thread.
"""

import argparse
import math
import random
from pathlib import Path

from autograder.reference import Reference
from course import data, models

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


def nano_sft() -> tuple:
    """The policy that chapters 03 to 06 begin with: nano-base, taught by chapter 02's functions to answer as people do.

    Returns the model and its card.
    """
    import torch

    answers, tokenizer = Reference("02_sft").functions, data.load_tokenizer()

    def example(record: dict) -> tuple[list[int], list[int]]:
        chat = [{"role": "user", "content": record["prompt"]}, {"role": "assistant", "content": record["answer"]}]
        row = tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
        return row["input_ids"], answers["answer_labels"](row["input_ids"], row["assistant_masks"])

    train, heldout = ([example(r) for r in data.load_jsonl(f"demonstrations_{s}")] for s in ("train", "heldout"))
    rng = random.Random(0)
    updates = ([answers["collate"](rng.sample(train, SIZE), tokenizer.pad_token_id)] for _ in range(STEPS))
    model = fresh_marks(models.load_nano("base"))
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0, betas=(0.9, 0.95))
    torch.manual_seed(0)
    answers["train_sft"](
        model, updates, optimizer,
        lambda s: MAX_LR * min(1, (s + 1) / 20) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * s / STEPS))),
    )  # fmt: skip
    batch = answers["collate"](heldout, tokenizer.pad_token_id)
    with torch.no_grad():
        logits = model.eval()(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    loss = answers["sft_loss"](logits, batch["labels"]).item()
    card = {
        "made by": "python -m autograder.checkpoints nano-sft",
        "from": {"nano-base": models.load_card("nano-base")["sha256"]},
        "trained on": "demonstrations_train", "updates": STEPS, "batch": SIZE, "held-out loss": loss,
    }  # fmt: skip
    return model, card


RECIPES = {"nano-sft": nano_sft}


def main() -> int:
    """The command line."""
    import torch

    parser = argparse.ArgumentParser(prog="python -m autograder.checkpoints", description=__doc__.splitlines()[0])
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
