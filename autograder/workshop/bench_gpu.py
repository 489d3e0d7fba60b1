"""`make bench-gpu`: speed, model FLOPs utilisation and memory of the course's doses on this machine's GPU, or its CPU.

    python -m autograder.workshop.bench_gpu [--keep] [--seconds 10] [DOSE ...]

Each dose runs in a process of its own: its peak memory is its own, and one that fails stops no other. A line for people
goes to stderr, the same as JSON to stdout; --keep writes data/benchmarks/<device>.json.

**Utilisation** (MFU, PaLM, Chowdhery et al. 2022, appendix B) is the floating-point operations that the model's
mathematics needs a second, divided by what the device can do at most. Padding, recomputation and the optimizer are not
needed by the mathematics, so they lower it. The operations per token are

    training, all weights   6 N + 12 L d T      Kaplan et al. 2020, section 2.1, with attention as in PaLM, appendix B
    training, some weights  4 N + 2 M + 12 L d T
    generating              2 N + 4 L d T

N weights that multiply, M of them trained, L layers, width d of all attention heads together, T tokens seen. A weight
costs 2 operations forward, 2 to pass the gradient on, and 2 more for its own gradient if it has one. As in PaLM, the
attention of every token counts all T tokens, although a causal model needs half of them.
"""

import argparse
import datetime
import itertools
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from autograder.judging.reference import ROOT, Reference
from course import data, device, models

if TYPE_CHECKING:
    import torch

KEPT = data.DATA / "benchmarks"


class Peak(NamedTuple):
    """The most a card does, in floating-point operations a second, without sparsity."""

    card: str  # a pattern for the name that torch gives it
    half: float  # float16 or bfloat16 on tensor cores, sums in float32
    single: float  # float32 outside tensor cores, torch's default


# From NVIDIA's data sheets of these products. Where those give figures "with sparsity", half of them.
PEAKS = (
    Peak(r"\bT4\b", 65e12, 8.1e12),
    Peak(r"\bV100-SXM", 125e12, 15.7e12),
    Peak(r"\bA100\b", 312e12, 19.5e12),
    Peak(r"\bA10\b", 125e12, 31.2e12),
    Peak(r"\bL4\b", 121e12, 30.3e12),
    Peak(r"\bL40S\b", 362e12, 91.6e12),
    Peak(r"\bH100 PCIe\b", 756e12, 51e12),
    Peak(r"\bH100 80GB HBM3\b", 989e12, 67e12),  # SXM
    Peak(r"\bH200\b(?! NVL)", 989e12, 67e12),  # SXM
)


# --- Counting operations


class Shape(NamedTuple):
    """What the operations of a model depend on."""

    multiplying: int  # weights that a token is multiplied with
    trained: int  # of them, those with a gradient
    layers: int
    width: int  # of all attention heads together


def shape_of(model) -> Shape:
    """Read from a transformers model, with or without adapters.

    Norms and biases add and scale, which is left out, and an input embedding is looked up. Where there is an output layer
    and it is the same matrix, that one multiplies.
    """
    config = model.config
    tied = config.tie_word_embeddings and model.get_output_embeddings() is not None
    looked_up = None if tied else model.get_input_embeddings().weight
    matrices = [weight for weight in model.parameters() if weight.ndim > 1 and weight is not looked_up]
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Shape(
        multiplying=sum(weight.numel() for weight in matrices),
        trained=sum(weight.numel() for weight in matrices if weight.requires_grad),
        layers=config.num_hidden_layers,
        width=config.num_attention_heads * head,
    )


def training_flops(shape: Shape, context: float) -> float:
    """Operations to train on one token, among `context` tokens."""
    weights = 4 * shape.multiplying + 2 * shape.trained
    return weights + 12 * shape.layers * shape.width * context


def generation_flops(shape: Shape, context: float) -> float:
    """Operations to read or write one token, after `context` tokens."""
    return 2 * shape.multiplying + 4 * shape.layers * shape.width * context


def known_peak(name: str, dtype: str) -> float | None:
    """The data sheet's peak of a card for "float32" or a half-precision format, None if the card is not in PEAKS."""
    for peak in PEAKS:
        if re.search(peak.card, name):
            return peak.single if dtype == "float32" else peak.half
    return None


def measured_peak(where: "torch.device", dtype: "torch.dtype", seconds: float = 1.0) -> float:
    """Operations a second of the fastest of many products of large square matrices."""
    import torch

    size = 8192 if where.type == "cuda" and dtype != torch.float32 else 4096 if where.type != "cpu" else 2048
    a, b = (torch.randn(size, size, device=where).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    torch.matmul(a, b, out=out)  # the first one also chooses the kernel
    best, started = float("inf"), time.perf_counter()
    while time.perf_counter() - started < seconds:
        best = min(best, _seconds(where, lambda: torch.matmul(a, b, out=out)))
    return 2 * size**3 / best


# --- Measuring


def _seconds(where: "torch.device", work: Callable[[], object]) -> float:
    _synchronize(where)
    started = time.perf_counter()
    work()
    _synchronize(where)
    return time.perf_counter() - started


def _synchronize(where: "torch.device") -> None:
    import torch

    if where.type != "cpu":
        torch.accelerator.synchronize()


def peak_memory(where: "torch.device") -> float | None:
    """GiB: on a GPU what torch held there at most, on a CPU what this process did. None where nobody counts it."""
    import torch

    if where.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    if where.type == "mps":
        return None
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


class Work(NamedTuple):
    """What a dose did in the time that was measured."""

    model: object
    tokens: int  # without padding
    flops: float
    seconds: float
    steps: int


class Batch(NamedTuple):
    """Token ids and mask, each (batch, length), and how many tokens are not padding."""

    input_ids: "torch.Tensor"
    attention_mask: "torch.Tensor"
    tokens: int


def time_training(
    model, batches: list[Batch], where: "torch.device", dtype: "torch.dtype", seconds: float, loss_of=None
) -> Work:
    """Train with chapter 01's reference loop and loss for about `seconds`, at least two updates, after one to warm up.

    In half precision the weights being trained stay float32 and the forward pass runs under autocast. loss_of(logits, batch)
    is another loss.
    """
    import torch

    answers = Reference("01_pretraining").functions
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad])
    mixed = torch.autocast(where.type, dtype, enabled=dtype != torch.float32)

    def compute_loss(model, batch: Batch) -> "torch.Tensor":
        with mixed:
            logits = model(batch.input_ids, attention_mask=batch.attention_mask).logits
        if loss_of is not None:
            return loss_of(logits, batch)
        return answers["causal_lm_loss"](logits, answers["make_labels"](batch.input_ids, batch.attention_mask))

    def train(some) -> None:
        answers["train"](model, some, optimizer, lambda step: 1e-5, compute_loss)

    train(batches[:1])
    seen: list[Batch] = []

    def until() -> Iterator[Batch]:
        end = time.perf_counter() + seconds
        for batch in itertools.cycle(batches):
            if len(seen) >= 2 and time.perf_counter() > end:
                return
            seen.append(batch)
            yield batch

    taken = _seconds(where, lambda: train(until()))
    shape = shape_of(model)
    flops = sum(batch.tokens * training_flops(shape, batch.tokens / len(batch.input_ids)) for batch in seen)
    return Work(model, sum(batch.tokens for batch in seen), flops, taken, len(seen))


def nano_training(batch: int, where: "torch.device", dtype: "torch.dtype", seconds: float) -> Work:
    """Chapter 01: documents of similar length together, a nano model from the start."""
    rows = data.pad_rows(data.load_corpus("train")[: 40 * batch], data.load_tokenizer())
    lengths = rows.attention_mask.sum(1)
    batches = []
    for chosen in lengths.argsort().split(batch)[::-1]:
        longest, tokens = int(lengths[chosen].max()), int(lengths[chosen].sum())
        ids, mask = (tensor[chosen, :longest].to(where) for tensor in rows)
        batches.append(Batch(ids, mask, tokens))
    import torch

    order = torch.randperm(len(batches), generator=torch.Generator().manual_seed(0))
    return time_training(models.new_nano().to(where), [batches[i] for i in order], where, dtype, seconds)


def chat_training(rank: int | None, where: "torch.device", dtype: "torch.dtype", seconds: float) -> Work:
    """Chapter 02: the chat model on 8 rows of 128 tokens; all weights, or LoRA of some rank on all linear layers."""
    import torch

    from course.hub import load_chat_model

    model, _ = load_chat_model()
    if rank is None:
        model.float()
    else:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    ids = torch.randint(model.config.vocab_size, (8, 128), generator=torch.Generator().manual_seed(0)).to(where)
    return time_training(model, [Batch(ids, torch.ones_like(ids), ids.numel())], where, dtype, seconds)


def chat_generation(batch: int, where: "torch.device", dtype: "torch.dtype", seconds: float) -> Work:
    """Chapter 02: answers to `batch` questions at once, greedily, all of the same length."""

    from course.hub import load_chat_model

    model, tokenizer = load_chat_model()
    question = [{"role": "user", "content": "How does a ship find its way at night?"}]
    inputs = tokenizer.apply_chat_template(
        [question] * batch, add_generation_prompt=True, return_tensors="pt", return_dict=True
    ).to(where)
    return time_generation(model, inputs, 128 if where.type == "cuda" else 32, seconds, do_sample=False)


def time_generation(model, inputs, length: int, seconds: float, **options) -> Work:
    """Write `length` tokens after each row of the inputs, again and again for about `seconds`; no weight is trained."""
    import torch

    model.requires_grad_(False)
    (batch, asked), where = inputs["input_ids"].shape, model.device

    def generate(new: int) -> None:
        with torch.no_grad():
            model.generate(**inputs, min_new_tokens=new, max_new_tokens=new, **options)

    generate(2)
    taken, rounds = 0.0, 0
    while taken < seconds:
        taken += _seconds(where, lambda: generate(length))
        rounds += 1
    shape = shape_of(model)
    # The question is read as well, which is counted as work, and not among the tokens that were generated.
    per_answer = asked * generation_flops(shape, asked) + length * generation_flops(shape, asked + length / 2)
    return Work(model, rounds * batch * length, rounds * batch * per_answer, taken, rounds * length)


def nano_rollouts(batch: int, where: "torch.device", dtype: "torch.dtype", seconds: float) -> Work:
    """Chapters 03 and 05: `batch` sampled answers of the nano model, all of 32 tokens."""
    questions = [record["prompt"] for record in data.load_jsonl("preferences_train")[:batch]]
    tokenizer = data.load_tokenizer()
    texts = [f"<bos> <user> {question} <end> <assistant>" for question in questions]
    asked = tokenizer(texts, padding=True, padding_side="left", add_special_tokens=False, return_tensors="pt")
    inputs = {name: asked[name].to(where) for name in ("input_ids", "attention_mask")}
    ids = {"eos_token_id": tokenizer.get_vocab()["<end>"], "pad_token_id": tokenizer.pad_token_id}
    return time_generation(models.load_nano("sft").to(where), inputs, 32, seconds, do_sample=True, top_k=0, **ids)


def nano_pairs(pairs: int, where: "torch.device", dtype: "torch.dtype", seconds: float) -> Work:
    """Chapter 04: a head for one number on the nano model's body, batches of `pairs` comparisons."""
    from transformers import LlamaForSequenceClassification

    config = models.load_nano("sft").config
    config.num_labels = 1
    model = LlamaForSequenceClassification(config).to(where)
    bradley_terry_loss = Reference("04_reward_model").functions["bradley_terry_loss"]
    records, tokenizer, batches = data.load_jsonl("preferences_train"), data.load_tokenizer(), []
    for i in range(0, len(records) - pairs, pairs):
        answers = [(r["prompt"], r[name]) for name in ("chosen", "rejected") for r in records[i : i + pairs]]
        texts = [f"<user> {prompt} <end> <assistant> {answer} <end>" for prompt, answer in answers]
        rows = data.pad_rows(texts, tokenizer)
        batches.append(Batch(rows.input_ids.to(where), rows.attention_mask.to(where), int(rows.attention_mask.sum())))
    loss_of = lambda rewards, batch: bradley_terry_loss(*rewards[:, 0].float().chunk(2))  # noqa: E731
    return time_training(model, batches, where, dtype, seconds, loss_of)


class Dose(NamedTuple):
    """Something the course does on this machine, in the size it does it."""

    title: str
    run: Callable[..., Work]  # run(size, device, dtype, seconds)
    size: int | None
    own_format: bool = False  # in the chat model's format for this device; else in float32
    threads: int | None = None  # on a CPU; None: all cores


def doses() -> dict[str, Dose]:
    """Name -> dose, those of this machine's tier."""
    large = 64 if device.tier() == "cpu" else 512
    many = 8 if device.tier() == "cpu" else 64
    return {
        # The notebook's own settings: 16 documents, and one thread. The second shows what a larger batch would bring.
        "nano": Dose("pre-training the nano model, 16 documents", nano_training, 16, threads=1),
        "nano-large": Dose(f"pre-training the nano model, {large} documents", nano_training, large, threads=1),
        "pairs": Dose("a reward model of the nano model, 32 comparisons", nano_pairs, 32, threads=1),
        "rollouts": Dose("the nano model drawing 64 answers at once", nano_rollouts, 64, threads=1),
        "chat-full": Dose("fine-tuning the chat model, all weights, 8 × 128 tokens", chat_training, None, True),
        "chat-lora": Dose("fine-tuning the chat model, LoRA of rank 8, 8 × 128 tokens", chat_training, 8, True),
        "chat-generate": Dose(f"the chat model answering {many} questions at once", chat_generation, many, True),
    }


def measure(name: str, seconds: float) -> dict:
    """Run one dose here, in this process, and say how it went; {"dose": ..., "skipped": why} if it cannot be had."""
    import torch

    from course.hub import NoChatModel, fitting_dtype

    dose, where = doses()[name], device.device()
    dtype = fitting_dtype() if dose.own_format else torch.float32
    if where.type == "cpu":
        torch.set_num_threads(dose.threads or device.usable_cores())
    try:
        work = dose.run(dose.size, where, dtype, seconds)
    except NoChatModel as reason:
        return {"dose": name, "title": dose.title, "skipped": str(reason)}
    memory = peak_memory(where)  # before the matrices of the measured peak
    format_name = str(dtype).removeprefix("torch.")
    measured = measured_peak(where, dtype)
    known = known_peak(device_name(), format_name) if where.type == "cuda" else None
    shape = shape_of(work.model)
    return {
        "dose": name,
        "title": dose.title,
        "tokens_per_second": work.tokens / work.seconds,
        "mfu": work.flops / work.seconds / (known or measured),
        "peak_flops": known or measured,
        "peak_flops_from": "data sheet" if known else "measured product of matrices",
        "measured_flops": measured,
        "peak_memory_gib": memory,
        "number_format": format_name,
        "threads": torch.get_num_threads() if where.type == "cpu" else None,
        "weights": shape.multiplying,
        "weights_trained": shape.trained,
        "steps": work.steps,
        "seconds": work.seconds,
    }


# --- Telling


def device_name() -> str:
    """The name of the graphics card, or of the processor."""
    import torch

    if device.tier() == "gpu":
        return torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"Apple GPU of {platform.machine()}"
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    name = found.group(1) if found else platform.processor() or platform.machine()
    return f"{name}, {device.usable_cores()} cores"


def sentence(result: dict) -> str:
    """One result for people."""
    if "skipped" in result:
        return f"{result['title']}: skipped. {result['skipped']}"
    memory = result["peak_memory_gib"]
    return (
        f"{result['title']}: {result['tokens_per_second']:,.0f} tokens/s, "
        f"{result['mfu']:.1%} of the {result['peak_flops'] / 1e12:.3g} TFLOP/s of {result['number_format']} "
        f"({result['peak_flops_from']}), {'memory unknown' if memory is None else f'{memory:.2f} GiB at most'}"
    )


def about_this_machine() -> dict:
    """What has to be known to compare figures with others'."""
    packages = ("torch", "transformers", "peft")
    return {
        "device": device_name(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "busy_cores_before": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def keep(results: list[dict], about: dict, folder: Path) -> Path:
    """Write the figures into the file of their device; those of doses that did not run this time stay as they were."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{re.sub(r'[^a-z0-9]+', '-', about['device'].lower()).strip('-')}.json"
    kept = {old["dose"]: old for old in json.loads(path.read_text())["results"]} if path.exists() else {}
    for result in results:
        if "skipped" not in result:
            kept[result["dose"]] = {name: _rounded(value) for name, value in (result | about).items()}
    path.write_text(json.dumps({"device": about["device"], "results": list(kept.values())}, indent=1) + "\n")
    return path


def _rounded(value):
    return float(f"{value:.4g}") if isinstance(value, float) else value


def in_own_process(name: str, seconds: float) -> dict:
    """Measure a dose in a new Python, so that its memory is its own; what fails there is told as skipped."""
    command = [sys.executable, "-m", "autograder.workshop.bench_gpu", "--here", f"--seconds={seconds}", name]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        why = run.stderr.strip().splitlines()[-1:] or [f"it ended with code {run.returncode}"]
        return {"dose": name, "title": doses()[name].title, "skipped": why[0]}
    return json.loads(run.stdout.splitlines()[-1])


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make bench-gpu", description="How fast the course runs on this GPU or CPU.")
    parser.add_argument("doses", nargs="*", help=f"which to run; all when none is named: {', '.join(doses())}")
    parser.add_argument("--seconds", type=float, default=10, help="about how long to measure each dose")
    parser.add_argument("--keep", action="store_true", help="write the figures to data/benchmarks/")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    unknown = set(asked.doses) - set(doses())
    if unknown:
        parser.error(f"no such dose: {', '.join(sorted(unknown))}. There are: {', '.join(doses())}.")
    if asked.here:
        print(json.dumps(measure(asked.doses[0], asked.seconds)))
        return 0
    about, results = about_this_machine(), []
    print(f"On {about['device']}:", file=sys.stderr)
    if (about["busy_cores_before"] or 0) > device.usable_cores() / 2:
        print("This machine is busy with other work: expect figures that are too low.", file=sys.stderr)
    for name in asked.doses or doses():
        results.append(in_own_process(name, asked.seconds))
        print(sentence(results[-1]), file=sys.stderr, flush=True)
        print(json.dumps(about | results[-1]), flush=True)
    if asked.keep:
        print(f"Kept in {keep(results, about, KEPT)}.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
