"""A reward model for the nano world: a language model that expects words, and a small head that judges by its surprise."""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_outputs import SequenceClassifierOutput

WIDTH = 32
SURPRISED = 4.0  # nats: words with a log-probability well below minus this count as unexpected


def expectations(reader: LlamaForCausalLM, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """log p of each token after those before it, (batch, seq); 0 for the first token and on padding.

    input_ids, attention_mask: (batch, seq), padding on either side.
    """
    position_ids = (attention_mask.cumsum(1) - 1).clamp(min=0)
    output = reader(input_ids, attention_mask=attention_mask, position_ids=position_ids)
    logps = output.logits[:, :-1].log_softmax(-1).gather(-1, input_ids[:, 1:, None])[..., 0]  # (batch, seq - 1)
    follows = attention_mask[:, 1:] * attention_mask[:, :-1]
    return F.pad(logps.masked_fill(follows == 0, 0.0), (1, 0))


class SurpriseHead(nn.Module):
    """At each token a small network sees the word and how much it was expected; what it finds adds up along the row.

    embeddings: (vocab, d), the reader's word vectors, kept as they are.
    """

    def __init__(self, embeddings: torch.Tensor, width: int = WIDTH):
        super().__init__()
        self.register_buffer("table", embeddings.detach().clone())
        self.word = nn.Linear(2 * embeddings.shape[1] + 1, width)
        self.mix = nn.Linear(width, width)
        self.head = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.head.weight)  # all rewards begin at 0, and every pair at log 2

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, logps: torch.Tensor) -> torch.Tensor:
        """What the reward would be if the row ended at each of its tokens: (batch, seq), as are all arguments."""
        words = 3 * self.table[input_ids]  # (batch, seq, d); times 3: entries of about a half
        expected = torch.tanh(logps.unsqueeze(-1) + SURPRISED)  # (batch, seq, 1): from -1, a surprise, to 1
        found = F.gelu(self.word(torch.cat([words, words * expected, expected], dim=-1)))  # (batch, seq, width)
        so_far = (found * attention_mask.unsqueeze(-1)).cumsum(1) / 4  # / 4: a dozen words add up
        return self.head(so_far + F.gelu(self.mix(so_far))).squeeze(-1)


class RewardModel(nn.Module):
    """A frozen reader and a head. Called like `LlamaForSequenceClassification` with one label: `.logits` is (batch, 1)."""

    config_class = LlamaConfig

    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.config = config
        self.reader = LlamaForCausalLM(config)
        self.judge = SurpriseHead(self.reader.get_input_embeddings().weight)

    @classmethod
    def of(cls, reader: LlamaForCausalLM, judge: SurpriseHead) -> "RewardModel":
        """The two put together; copies of both, in evaluation mode."""
        model = cls(reader.config)
        model.reader.load_state_dict(reader.state_dict())
        model.judge.load_state_dict(judge.state_dict())
        return model.eval()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> SequenceClassifierOutput:
        """The reward of each row: the judge's number once the last real token is read."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        logps = expectations(self.reader, input_ids, attention_mask)
        rewards = self.judge(input_ids, attention_mask, logps)[:, -1:]  # padding adds nothing: the last column is the sum
        return SequenceClassifierOutput(logits=rewards)
