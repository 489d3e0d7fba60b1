"""The nano models are what their docstrings say, and a checkpoint comes back as it was saved."""

import json
import subprocess
import sys

import pytest
import torch

from course import device
from course.data import load_corpus, load_tokenizer, pad_rows
from course.models import (
    CARD,
    CHECKPOINTS,
    HALF_TOLERANCE,
    WEIGHTS,
    CheckpointError,
    load_checkpoint,
    load_model,
    nano_config,
    new_nano,
    new_nano_bert,
    save_checkpoint,
)


@pytest.fixture(scope="module")
def rows():
    return pad_rows(load_corpus("heldout")[:5], load_tokenizer())


def test_the_nano_model_is_small_and_starts_from_ignorance(rows):
    model = new_nano(seed=3)
    parameters = sum(weight.numel() for weight in model.parameters())
    assert 0.5e6 < parameters < 1.0e6
    labels = rows.input_ids.masked_fill(rows.attention_mask == 0, -100)
    with torch.no_grad():
        loss = model(**rows._asdict(), labels=labels).loss.item()
    uniform = torch.log(torch.tensor(float(len(load_tokenizer())))).item()
    assert uniform - 0.5 < loss < uniform + 1.5


def test_a_seed_fixes_the_weights_and_leaves_the_random_state_alone():
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first, second, other = new_nano(1), new_nano(1), new_nano(2)
    assert torch.equal(before, torch.get_rng_state())
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.model.embed_tokens.weight, other.model.embed_tokens.weight)


def test_special_tokens_of_the_configuration_are_the_tokenizers():
    config, tokenizer = nano_config(), load_tokenizer()
    assert (config.vocab_size, config.pad_token_id) == (len(tokenizer), tokenizer.pad_token_id)
    assert (config.bos_token_id, config.eos_token_id) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert nano_config(vocab_size=17).vocab_size == 17


def test_the_encoder_has_both_heads_and_looks_both_ways(rows):
    model = new_nano_bert(seed=1).eval()
    with torch.no_grad():
        outputs = model(**rows._asdict(), token_type_ids=torch.zeros_like(rows.input_ids))
        changed = rows.input_ids.clone()
        changed[:, 9] = load_tokenizer().mask_token_id
        after = model(input_ids=changed, attention_mask=rows.attention_mask).prediction_logits
    assert outputs.prediction_logits.shape == (*rows.input_ids.shape, len(load_tokenizer()))
    assert outputs.seq_relationship_logits.shape == (len(rows.input_ids), 2)
    assert (outputs.prediction_logits[:, 2] - after[:, 2]).abs().max() > 1e-5


@pytest.mark.parametrize("make", [new_nano, new_nano_bert])
def test_a_checkpoint_comes_back(make, rows, tmp_path, capsys):
    model = make(seed=5).eval()
    save_checkpoint(model, tmp_path / "nano", {"command": "make it", "loss": 1.5})
    loaded = load_checkpoint(tmp_path / "nano")
    assert type(loaded) is type(model) and not loaded.training
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    with torch.no_grad():
        difference = (model(**rows._asdict())[0] - loaded(**rows._asdict())[0]).abs().max().item()
    assert difference <= HALF_TOLERANCE
    card = json.loads((tmp_path / "nano" / CARD).read_text())
    assert card["loss"] == 1.5 and card["precision_on_disk"] == "float16"
    assert (tmp_path / "nano" / WEIGHTS).stat().st_size < 2.2 * card["parameters"] + 20_000
    assert capsys.readouterr().err == ""


def test_weights_that_half_precision_would_spoil_are_kept_whole(rows, tmp_path):
    model = new_nano(seed=5).eval()
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = 1e6  # more than a float16 can hold
    save_checkpoint(model, tmp_path, {})
    assert json.loads((tmp_path / CARD).read_text())["precision_on_disk"] == "float32"
    assert load_checkpoint(tmp_path).model.layers[0].mlp.up_proj.weight[0, 0].item() == 1e6


def test_a_saved_nano_model_is_an_ordinary_transformers_folder(rows, tmp_path):
    from transformers import AutoModelForCausalLM

    model = new_nano(seed=6).eval()
    save_checkpoint(model, tmp_path, {})
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="float32", local_files_only=True).eval()
    with torch.no_grad():
        assert (model(**rows._asdict())[0] - loaded(**rows._asdict())[0]).abs().max() <= HALF_TOLERANCE


def test_damaged_and_missing_checkpoints_are_explained(tmp_path):
    save_checkpoint(new_nano(seed=7), tmp_path / "nano", {})
    weights = tmp_path / "nano" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match="sha256"):
        load_checkpoint(tmp_path / "nano")
    weights.unlink()
    with pytest.raises(CheckpointError, match=f"{WEIGHTS} is not there"):
        load_checkpoint(tmp_path / "nano")
    with pytest.raises(CheckpointError, match="There is no checkpoint 'nano-nothing'"):
        load_model("nano-nothing")


def test_every_shipped_checkpoint_loads():
    for card in CHECKPOINTS.glob(f"*/{CARD}"):
        model = load_model(card.parent.name)
        assert sum(weight.numel() for weight in model.parameters()) == json.loads(card.read_text())["parameters"]


def test_the_tier_can_be_chosen(monkeypatch):
    monkeypatch.setenv("COURSE_TIER", "cpu")
    assert device.tier() == "cpu" and device.device().type == "cpu"
    assert "'cpu' tier" in device.describe_machine()
    monkeypatch.setenv("COURSE_TIER", "huge")
    with pytest.raises(ValueError, match="cpu, gpu"):
        device.tier()
    monkeypatch.setenv("COURSE_TIER", "gpu")
    monkeypatch.setattr(device, "_accelerator", lambda: None)
    with pytest.raises(ValueError, match="torch sees none"):
        device.tier()


def test_importing_the_toolkit_imports_nothing_heavy():
    program = "import sys, course.data, course.device, course.models, data.world; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "numpy"} & set(modules)
