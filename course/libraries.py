"""How libraries do what the notebooks do, set up so that the two can be compared."""

import tempfile


def trl_loss(model, tokenizer, records: list[dict]) -> float:
    """The loss that trl's SFTTrainer computes on conversations of the world, in one batch: template, mask, labels are its own.

    records: "prompt" and "answer" of each. The model should be one that nobody needs afterwards.
    """
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from course.quiet import hush_libraries

    hush_libraries()
    roles = {"user": "prompt", "assistant": "answer"}
    talks = [[{"role": role, "content": record[part]} for role, part in roles.items()] for record in records]
    config = SFTConfig(
        tempfile.mkdtemp(), assistant_only_loss=True, max_length=None, shuffle_dataset=False, report_to=[], disable_tqdm=True,
        use_cpu=model.device.type == "cpu", bf16=False, gradient_checkpointing=False, dataloader_pin_memory=False,
    )  # fmt: skip
    conversations = Dataset.from_list([{"messages": talk} for talk in talks])
    trainer = SFTTrainer(model, config, train_dataset=conversations, processing_class=tokenizer)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(records))])
    with torch.no_grad():
        loss = trainer.compute_loss(trainer.model, {name: tensor.to(trainer.model.device) for name, tensor in batch.items()})
    return loss.item()
