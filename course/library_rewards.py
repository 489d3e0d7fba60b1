"""What libraries make of the same weights and the same pairs: chapter 04 compares the reader's own with it."""

import tempfile

import torch


def ready_made(body, head: torch.nn.Linear, config):
    """`LlamaForSequenceClassification` with one label, and with the weights of this body and this head."""
    from transformers import LlamaForSequenceClassification

    config.num_labels = 1
    library = LlamaForSequenceClassification(config).to(head.weight.device).eval()
    library.model.load_state_dict(body.state_dict())
    library.score.load_state_dict(head.state_dict())
    return library


def trl_loss(library, records: list[dict], tokenizer) -> float:
    """What trl's RewardTrainer has for a loss on these comparisons; it does template, batch, head and loss by itself."""
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    from course.quiet import hush_libraries

    hush_libraries()
    asked = [{"role": "user", "content": r["prompt"]} for r in records]
    chats = [
        {k: [ask, {"role": "assistant", "content": r[k]}] for k in ("chosen", "rejected")} for ask, r in zip(asked, records)
    ]
    trainer = RewardTrainer(
        model=library,
        args=RewardConfig(
            tempfile.mkdtemp(), use_cpu=library.device.type == "cpu", bf16=False, gradient_checkpointing=False, max_length=None,
            report_to=[], disable_tqdm=True, save_strategy="no", logging_strategy="no", dataloader_pin_memory=False,
        ),
        train_dataset=Dataset.from_list(chats),
        processing_class=tokenizer,
    )  # fmt: skip
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(records))])
    trainer.model.eval()
    with torch.no_grad():
        return trainer.compute_loss(trainer.model, {k: v.to(library.device) for k, v in batch.items()}).item()
