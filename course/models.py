"""The nano models: small enough to train on a CPU in minutes, made from ordinary transformers classes.

`load_model("nano-base")` and the like load the checkpoints of the reference run from `data/checkpoints/`.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from course.data import DATA, ROW, load_tokenizer

if TYPE_CHECKING:
    from torch import nn
    from transformers import BertForPreTraining, LlamaConfig, LlamaForCausalLM, PreTrainedModel

CHECKPOINTS = DATA / "checkpoints"
CARD, WEIGHTS = "card.json", "model.safetensors"
HALF_TOLERANCE = 0.02  # largest change of a logit for which weights are stored in half precision


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged, or not of a kind this toolkit can load."""


def nano_config(vocab_size: int | None = None) -> "LlamaConfig":
    """A Llama of 3 layers and width 128, about 0.6 million parameters with the world's vocabulary.

    initializer_range is about 1/sqrt(width), not transformers' 0.02: with 0.02 a model as narrow as this needs several
    times as many steps before it has learned even the facts. rope_theta is 1000 for the same reason: no text here is
    longer than a hundred tokens, and slower rotations than that tell no positions apart.
    """
    from transformers import LlamaConfig

    tokenizer = load_tokenizer()
    return LlamaConfig(
        vocab_size=vocab_size or len(tokenizer),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=3,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=ROW,
        initializer_range=0.08,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def new_nano(seed: int = 0) -> "LlamaForCausalLM":
    """An untrained nano model. The same seed gives the same weights; torch's global random state is left alone."""
    from transformers import LlamaForCausalLM

    return _seeded(lambda: LlamaForCausalLM(nano_config()), seed)


def new_nano_bert(seed: int = 0) -> "BertForPreTraining":
    """An untrained bidirectional encoder with BERT's two heads: masked words and next sentence.

    Call it with input_ids, attention_mask and token_type_ids (batch, seq); it returns prediction_logits
    (batch, seq, vocab) and seq_relationship_logits (batch, 2), where class 0 means "B follows A", as in the paper's code.
    """
    from transformers import BertConfig, BertForPreTraining

    tokenizer = load_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=ROW,
        initializer_range=0.08,
        hidden_dropout_prob=0.0,  # a few minutes of fresh text: nothing is seen often enough to be overfitted
        attention_probs_dropout_prob=0.0,
        pad_token_id=tokenizer.pad_token_id,
    )
    return _seeded(lambda: BertForPreTraining(config), seed)


def _seeded(make, seed: int):
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def save_checkpoint(model: "nn.Module", folder: Path | str, card: dict) -> Path:
    """Save a transformers model as `config.json`, `model.safetensors` and `card.json`; returns the folder.

    Weights are stored as float16 if that changes no logit by more than HALF_TOLERANCE, else as float32. The card is what
    you write about the model (the command that made it, its losses, ...); class, precision and checksum are added.
    """
    import torch
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    half = {name: tensor.detach().cpu().half() for name, tensor in _distinct_weights(model).items()}
    precision = "float16" if _largest_change(model, half) <= HALF_TOLERANCE else "float32"
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in _distinct_weights(model).items()}
    save_file(half if precision == "float16" else weights, folder / WEIGHTS, metadata={"format": "pt"})
    config = model.config.to_diff_dict() | {"dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    facts = {
        "class": type(model).__name__,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "precision_on_disk": precision,
        "sha256": _sha256(folder / WEIGHTS),
        "torch": torch.__version__,
    }
    (folder / CARD).write_text(json.dumps(card | facts, indent=2) + "\n")
    return folder


def _distinct_weights(model: "nn.Module") -> dict:
    """The state dict, with tensors that share memory (tied weights) kept once."""
    seen: set[int] = set()
    weights = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            weights[name] = tensor
    return weights


def _largest_change(model: "nn.Module", rounded: dict) -> float:
    """The largest difference of any logit, on random tokens, when the rounded weights replace the model's own."""
    import copy

    import torch

    other = copy.deepcopy(model).cpu().float().eval()
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(model.config.vocab_size, (4, 32), generator=generator)
    with torch.no_grad():
        before = other(input_ids)[0]
        other.load_state_dict({name: tensor.float() for name, tensor in rounded.items()}, strict=False)
        return (other(input_ids)[0] - before).abs().max().item()


def load_checkpoint(folder: Path | str) -> "PreTrainedModel":
    """Load what `save_checkpoint` saved, as float32 on the CPU and in evaluation mode. Verifies the checksum first."""
    import transformers
    from safetensors.torch import load_file

    folder = Path(folder)
    missing = [name for name in (CARD, WEIGHTS, "config.json") if not (folder / name).exists()]
    if missing:
        raise CheckpointError(f"The checkpoint {folder} is incomplete: {', '.join(missing)} is not there.")
    card = json.loads((folder / CARD).read_text())
    found = _sha256(folder / WEIGHTS)
    if found != card["sha256"]:
        raise CheckpointError(
            f"{folder / WEIGHTS} is not the file that {CARD} describes: its sha256 should begin {card['sha256'][:12]}, "
            f"but begins {found[:12]}. Restore it with `git checkout -- {folder}`, or save the checkpoint again."
        )
    if card["class"] == "RewardModel":
        from course.reward import RewardModel as model_class
    else:
        model_class = getattr(transformers, card["class"])
    model = model_class(model_class.config_class.from_pretrained(folder, local_files_only=True))
    weights = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}
    absent = model.load_state_dict(weights, strict=False).missing_keys  # only tensors tied to another may be absent
    if set(absent) - (model.state_dict().keys() - _distinct_weights(model).keys()):
        raise CheckpointError(f"{folder / WEIGHTS} lacks weights that {card['class']} needs: {', '.join(absent)}.")
    return model.eval()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_card(name: str) -> dict:
    """What is written about a checkpoint of the course: how it was made and what it reached."""
    return json.loads((_checkpoint(name) / CARD).read_text())


def load_model(name: str) -> "PreTrainedModel":
    """A model of the course by name: a folder of `data/checkpoints`, such as "nano-base"."""
    return load_checkpoint(_checkpoint(name))


def load_nano(stage: str = "base") -> "LlamaForCausalLM":
    """The nano model as it stands after a stage of training, e.g. "base" after pre-training."""
    return load_model(f"nano-{stage}")


def _checkpoint(name: str) -> Path:
    folder = CHECKPOINTS / name
    if not folder.is_dir():
        names = ", ".join(sorted(path.parent.name for path in CHECKPOINTS.glob(f"*/{CARD}"))) or "none yet"
        raise CheckpointError(
            f"There is no checkpoint '{name}' in {CHECKPOINTS}. Those that are there: {names}. "
            "Each is saved by the chapter that trains it."
        )
    return folder
