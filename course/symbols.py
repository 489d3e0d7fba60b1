"""Small models that read texts of a few symbols, a word a token: the puzzles of chapters 09 and 10 (chains.py, puzzles.py)."""

from collections.abc import Mapping, Sequence

import torch

PAD, BOS, END = 0, 1, 2  # the first three words of every such vocabulary


def new_model(words: int, seed: int, layers: int, width: int):
    """An untrained Llama with that many words: of width 64, about 50,000 parameters a layer.

    torch's global random state is left alone.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=words, hidden_size=width, intermediate_size=176 * width // 64, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=64, initializer_range=0.1,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0}, tie_word_embeddings=True,
        pad_token_id=PAD, bos_token_id=BOS, eos_token_id=END,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def encoded(texts: Sequence[str], ids_of: Mapping[str, int], side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of "<bos> text" and their mask, (batch, longest), padded on `side`: "left" or "right"."""
    rows = [[BOS, *(ids_of[word] for word in text.split())] for text in texts]
    longest = max(map(len, rows))
    fill = [[PAD] * (longest - len(row)) for row in rows]
    ids = torch.tensor([f + r if side == "left" else r + f for r, f in zip(rows, fill, strict=True)])
    return ids, (ids != PAD).long()
