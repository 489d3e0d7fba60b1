"""A world of hidden tables, for chapter 08: a row of pairs comes from one table, and nobody says from which.

A table gives each of INPUTS inputs one of LABELS labels. A row is x1 y1 x2 y2 …: inputs drawn by chance, and behind each the
label that the row's table gives it. With the chance NOISE a label is drawn anew, from all labels alike.

Inputs are the tokens 0 to INPUTS - 1; the label k is the token INPUTS + k.
"""

import hashlib
from typing import NamedTuple

import torch

INPUTS, LABELS, TABLES, NOISE = 16, 8, 8, 0.05


class Rows(NamedTuple):
    """Rows of pairs. xs, ys: (rows, pairs), inputs and labels from 0 on; which: (rows,), the number of the table, -1 if new."""

    xs: torch.Tensor
    ys: torch.Tensor
    which: torch.Tensor


def known_tables(seed: int, count: int = TABLES) -> torch.Tensor:
    """Tables of random labels, (count, INPUTS)."""
    return torch.randint(LABELS, (count, INPUTS), generator=torch.Generator().manual_seed(seed))


def draw(tables: torch.Tensor, rows: int, pairs: int, generator: torch.Generator, noise: float = NOISE) -> Rows:
    """Rows from tables (count, INPUTS), each row's table chosen by chance."""
    which = torch.randint(len(tables), (rows,), generator=generator)
    return _filled(tables[which], which, pairs, generator, noise, None)


def draw_new(rows: int, pairs: int, generator: torch.Generator, noise: float = NOISE, inputs: int | None = None) -> Rows:
    """Rows that have each a table of their own, which no other row has. inputs: how many different ones a row may hold."""
    tables = torch.randint(LABELS, (rows, INPUTS), generator=generator)
    return _filled(tables, torch.full((rows,), -1), pairs, generator, noise, inputs)


def _filled(tables, which, pairs, generator, noise, inputs) -> Rows:
    rows = len(tables)
    if inputs is None:
        xs = torch.randint(INPUTS, (rows, pairs), generator=generator)
    else:  # each row has its own few
        few = torch.rand(rows, INPUTS, generator=generator).argsort(1)[:, :inputs]
        xs = few.gather(1, torch.randint(inputs, (rows, pairs), generator=generator))
    ys = tables.gather(1, xs)
    other = torch.randint(LABELS, ys.shape, generator=generator)
    ys = torch.where(torch.rand(ys.shape, generator=generator) < noise, other, ys)
    return Rows(xs, ys, which)


def tokens(xs: torch.Tensor, ys: torch.Tensor) -> torch.Tensor:
    """The rows as a model reads them: x1 y1 x2 y2 …, (rows, 2 * pairs)."""
    return torch.stack([xs, ys + INPUTS], 2).flatten(1)


def new_model(seed: int, layers: int = 2, width: int = 64, heads: int = 4):
    """An untrained Llama of some 0.15 million parameters. torch's global random state is left alone."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=INPUTS + LABELS, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=128, initializer_range=0.1,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, tie_word_embeddings=False,
        pad_token_id=None, bos_token_id=None, eos_token_id=None, attn_implementation="eager",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def fingerprint(model) -> str:
    """A hash of all weights: equal only if no number in them has changed."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


@torch.no_grad()
def predictions(model, xs: torch.Tensor, ys: torch.Tensor) -> torch.Tensor:
    """A model's label probabilities at each input of the rows, (rows, pairs, LABELS): given the pairs before it."""
    ids = tokens(xs, ys).to(next(model.parameters()).device)
    logits = model(ids).logits[:, 0::2, INPUTS:]  # among the labels: nothing else comes there
    return logits.float().softmax(-1).cpu()
