"""The benchmark counts operations rightly, keeps what it measured, and goes on where something is missing."""

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from autograder.workshop import bench_gpu
from autograder.workshop.bench_gpu import Shape
from course import hub, models

VOCAB, WIDTH, INNER, LAYERS, HEADS = 50, 32, 48, 3, 4


def llama(tied: bool = True, layers: int = LAYERS) -> LlamaForCausalLM:
    """A small Llama whose attention is written out as products of matrices, so that all of it can be counted."""
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=layers,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, tie_word_embeddings=tied, attn_implementation="eager",
    )  # fmt: skip
    return LlamaForCausalLM(config)


def counted(model, ids: torch.Tensor, backward: bool) -> int:
    with FlopCounterMode(display=False) as counter:
        logits = model(ids).logits
        if backward:
            logits.sum().backward()
    return counter.get_total_flops()


# --- Operations


@pytest.mark.parametrize("tied", [True, False])
def test_the_shape_counts_the_weights_that_multiply(tied: bool) -> None:
    shape = bench_gpu.shape_of(llama(tied))
    expected = VOCAB * WIDTH + LAYERS * (4 * WIDTH * WIDTH + 3 * WIDTH * INNER)  # the output layer, and the blocks
    assert shape == Shape(multiplying=expected, trained=expected, layers=LAYERS, width=WIDTH)


def test_training_all_weights_is_six_operations_a_weight_and_attention() -> None:
    shape = Shape(multiplying=1000, trained=1000, layers=2, width=10)
    assert bench_gpu.training_flops(shape, context=0) == 6 * 1000
    assert bench_gpu.training_flops(shape, context=7) - 6 * 1000 == 12 * 2 * 10 * 7
    assert bench_gpu.generation_flops(shape, context=7) == 2 * 1000 + 4 * 2 * 10 * 7


@pytest.mark.parametrize("tied", [True, False])
def test_torch_counts_the_same_operations(tied: bool) -> None:
    model, ids = llama(tied), torch.zeros(2, 11, dtype=torch.long)
    shape = bench_gpu.shape_of(model)
    forward, both = (ids.numel() * count(shape, 11) for count in (bench_gpu.generation_flops, bench_gpu.training_flops))
    # Some versions of transformers compute the angles of the positions as a (tiny) product of matrices.
    assert counted(model, ids, backward=False) == pytest.approx(forward, rel=1e-4)
    assert counted(model, ids, backward=True) == pytest.approx(both, rel=1e-4)


def test_an_embedding_without_an_output_layer_only_looks_up() -> None:
    from transformers import LlamaForSequenceClassification

    config = llama().config
    config.num_labels, config.pad_token_id = 1, 0
    model, ids = LlamaForSequenceClassification(config), torch.ones(2, 11, dtype=torch.long)
    expected = ids.numel() * bench_gpu.generation_flops(bench_gpu.shape_of(model), 11)
    assert counted(model, ids, backward=False) == pytest.approx(expected, rel=1e-3)


def test_torch_counts_nearly_the_same_for_adapters() -> None:
    """Below the first adapter no gradient has to be passed on, which the formula leaves out."""
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(llama(layers=12), LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    ids = torch.zeros(2, 11, dtype=torch.long)
    shape = bench_gpu.shape_of(model)
    assert 0 < shape.trained < shape.multiplying / 4
    ours = ids.numel() * bench_gpu.training_flops(shape, 11)
    assert counted(model, ids, backward=True) == pytest.approx(ours, rel=0.03)
    assert ours < 0.8 * ids.numel() * bench_gpu.training_flops(shape._replace(trained=shape.multiplying), 11)


def test_the_nano_models_weights_are_its_parameters_but_the_norms() -> None:
    model = models.new_nano()
    norms = sum(weight.numel() for weight in model.parameters() if weight.ndim == 1)
    assert bench_gpu.shape_of(model).multiplying == sum(weight.numel() for weight in model.parameters()) - norms


# --- What the device can do


@pytest.mark.parametrize(
    ("card", "dtype", "peak"),
    [
        ("Tesla T4", "float16", 65e12),
        ("NVIDIA A100-SXM4-40GB", "bfloat16", 312e12),
        ("NVIDIA A100-SXM4-40GB", "float32", 19.5e12),
        ("NVIDIA A10", "bfloat16", 125e12),
        ("NVIDIA L4", "bfloat16", 121e12),
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989e12),
        ("NVIDIA H100 PCIe", "bfloat16", 756e12),
        ("NVIDIA H200", "bfloat16", 989e12),
        ("NVIDIA A10G", "bfloat16", None),
        ("NVIDIA H200 NVL", "bfloat16", None),
        ("NVIDIA GeForce RTX 4090", "float16", None),
    ],
)
def test_known_cards_are_told_apart(card: str, dtype: str, peak: float | None) -> None:
    assert bench_gpu.known_peak(card, dtype) == peak


def test_the_measured_peak_is_a_rate() -> None:
    peak = bench_gpu.measured_peak(torch.device("cpu"), torch.float32, seconds=0.05)
    assert 1e8 < peak < 1e15


# --- Running


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_TIER", "cpu")


def test_the_smallest_dose_runs_and_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(bench_gpu, "KEPT", tmp_path)
    assert bench_gpu.main(["--seconds", "0.2", "--keep", "nano"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["dose"] == "nano"
    assert result["steps"] >= 2
    assert result["tokens_per_second"] > 0
    assert 0 < result["mfu"] < 1
    assert result["peak_memory_gib"] is None or 0.1 < result["peak_memory_gib"] < 4
    assert f"{result['tokens_per_second']:,.0f} tokens/s" in said.err
    (path,) = tmp_path.iterdir()
    kept = json.loads(path.read_text())
    assert kept["device"] == bench_gpu.device_name()
    assert kept["results"][0]["torch"] == result["torch"]
    assert kept["results"][0]["tokens_per_second"] == pytest.approx(result["tokens_per_second"], rel=1e-3)


def test_keeping_again_replaces_a_dose_and_leaves_the_others(tmp_path: Path) -> None:
    about = {"device": "NVIDIA L4", "date": "2026-01-01"}
    bench_gpu.keep([{"dose": "a", "mfu": 0.123456}, {"dose": "b", "mfu": 0.2}], about, tmp_path)
    skipped = {"dose": "b", "title": "b", "skipped": "no chat model"}
    path = bench_gpu.keep([{"dose": "a", "mfu": 0.3}, skipped], about | {"date": "2026-02-02"}, tmp_path)
    assert path.name == "nvidia-l4.json"
    kept = {result["dose"]: (result["mfu"], result["date"]) for result in json.loads(path.read_text())["results"]}
    assert kept == {"a": (0.3, "2026-02-02"), "b": (0.2, "2026-01-01")}


def test_without_the_chat_model_a_dose_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_there(name=None):
        raise hub.NoChatModel("Connect this machine once.")

    monkeypatch.setattr(hub, "load_chat_model", not_there)
    for name in ("chat-full", "chat-lora", "chat-generate"):
        result = bench_gpu.measure(name, seconds=0.1)
        assert "Connect this machine once." in bench_gpu.sentence(result)


def test_a_dose_that_fails_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_TIER", "neither")  # what the child stumbles over
    monkeypatch.setattr(bench_gpu, "doses", lambda: {"nano": bench_gpu.Dose("nano", bench_gpu.nano_training, 16)})
    result = bench_gpu.in_own_process("nano", seconds=0.1)
    assert "COURSE_TIER is 'neither'" in bench_gpu.sentence(result)


@pytest.fixture
def small_chat_model(monkeypatch: pytest.MonkeyPatch):
    """A stand-in with the chat model's interface: the nano tokenizer has a chat template too."""
    from course.data import load_tokenizer

    monkeypatch.setattr(hub, "load_chat_model", lambda name=None: (models.new_nano().eval(), load_tokenizer()))


@pytest.mark.usefixtures("small_chat_model")
def test_the_chat_doses_run() -> None:
    here = (torch.device("cpu"), torch.float32, 0.05)
    full, lora = bench_gpu.chat_training(None, *here), bench_gpu.chat_training(8, *here)
    assert full.tokens == 8 * 128 * full.steps
    assert lora.flops / lora.tokens < full.flops / full.tokens
    answers = bench_gpu.chat_generation(2, *here)
    assert answers.tokens == 2 * answers.steps
    assert all(work.seconds > 0 and work.flops > 0 for work in (full, lora, answers))


def test_a_dose_that_is_not_there_is_named(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        bench_gpu.main(["nanno"])
    assert "no such dose: nanno" in capsys.readouterr().err
