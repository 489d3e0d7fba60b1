"""`make bench`: how fast grading, the training loop and the notebooks are, against the stock tool in the same run.

python -m autograder.workshop.bench [grading] [sandbox] [training] [notebook]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from autograder.judging.reference import SOLUTIONS, Reference
from autograder.workshop.bench_grading import bench_grading
from autograder.workshop.bench_sandbox import bench_sandbox
from autograder.workshop.release import source_notebook, tool_environment

GRADED = ["00_start_here", "05_ppo"]  # with little and with some computing of the student's own

def _write(notebook, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def bench_training(steps: int = 60) -> list[str]:
    """Tokens a second of the chapter's training loop against transformers' Trainer: same model, rows and optimizer."""
    import torch
    from torch.utils.data import Dataset
    from transformers import Trainer, TrainingArguments

    from course import data, models

    answers = Reference("01_pretraining").functions
    tokenizer = data.load_tokenizer()
    rows = data.pack_rows(data.load_corpus("train")[:4000], tokenizer)

    def batches():
        for i in range(steps):
            yield [tensor[8 * i : 8 * i + 8] for tensor in rows]

    def loss(model, batch):
        ids, mask = batch
        return answers["causal_lm_loss"](model(ids, attention_mask=mask).logits, answers["make_labels"](ids, mask))

    class RowSet(Dataset):
        def __len__(self):
            return 8 * steps

        def __getitem__(self, i):
            ids, mask = rows.input_ids[i], rows.attention_mask[i]
            return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}

    def run_ours() -> None:
        model = models.new_nano(seed=0)
        optimizer = torch.optim.AdamW(model.parameters())
        answers["train"](model, batches(), optimizer, lambda step: 1e-3, loss)

    def run_trainer() -> None:
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                folder, per_device_train_batch_size=8, max_steps=steps, use_cpu=True, report_to=[], disable_tqdm=True,
                save_strategy="no", logging_strategy="no", dataloader_pin_memory=False,
            )  # fmt: skip
            Trainer(models.new_nano(seed=0), arguments, train_dataset=RowSet()).train()

    ours, stock = [], []
    for _ in range(3):
        ours.append(_seconds(run_ours))
        stock.append(_seconds(run_trainer))
    tokens = 8 * steps * rows.input_ids.shape[1]
    a, b = statistics.median(stock), statistics.median(ours)
    return [f"training: Trainer {tokens / a:,.0f} tokens/s, the chapter's loop {tokens / b:,.0f}, ratio {a / b:.2f}"]


def _seconds(function) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def bench_notebook() -> list[str]:
    """Wall time and peak memory of each solved notebook, in a process of its own."""
    script = (
        "import json, resource, sys, time, nbformat\n"
        "from nbclient import NotebookClient\n"
        "started = time.perf_counter()\n"
        "notebook = nbformat.read(sys.argv[1], as_version=4)\n"
        "NotebookClient(notebook, timeout=3600).execute()\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20\n"
        "print(json.dumps([time.perf_counter() - started, used]))\n"
    )
    lines = []
    for path in sorted(SOLUTIONS.glob("*/*.py")):
        if path.stem != path.parent.name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / f"{path.stem}.ipynb"
            _write(source_notebook(path.stem, SOLUTIONS), target)
            run = subprocess.run(
                [sys.executable, "-c", script, target], cwd=folder, capture_output=True, text=True,
                env=tool_environment() | {"COURSE_PROGRESS_FILE": f"{folder}/progress.json"},
            )  # fmt: skip
        if run.returncode:
            raise SystemExit(f"{path.stem} failed:\n{run.stderr[-3000:]}")
        seconds, gib = json.loads(run.stdout.splitlines()[-1])
        lines.append(f"notebook {path.stem}: {seconds / 60:.1f} minutes, peak {gib:.2f} GiB")
    return lines


BENCHES = {
    "training": bench_training,
    "grading": lambda: bench_grading(GRADED),
    "sandbox": bench_sandbox,
    "notebook": bench_notebook,
}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure, and print ratios.")
    parser.add_argument("which", nargs="*", help=f"of {', '.join(BENCHES)}; all when none is named")
    asked = parser.parse_args().which or list(BENCHES)
    if unknown := set(asked) - set(BENCHES):
        parser.error(f"no such benchmark: {', '.join(unknown)}. There are: {', '.join(BENCHES)}.")
    for name in asked:
        for line in BENCHES[name]():
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
