"""An engine runs a language model: it reads hidden states at given tokens, and it writes text.

Whatever chooses boundaries or writes titles talks to this protocol; another runtime only has to answer it.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chapter_assets.inference.base_models import BaseModel, fast_dtype, load_causal_lm, load_tokenizer

Floats = NDArray[np.float32]


class Engine(Protocol):
    """What choosers and titlers need of a runtime."""

    tokenizer: Any

    def read(self, ids: Sequence[int], spans: Sequence[tuple[int, int]]) -> tuple[Floats, Floats]:
        """Hidden states from within the model: of each span [a, b) of tokens the mean and the last, (spans, hidden)."""
        ...

    def write(self, ids: Sequence[int], most_tokens: int) -> str:
        """The model's greedy answer to one prompt, up to its end-of-turn token."""
        ...


class TransformersEngine:
    """PyTorch through transformers, on a GPU when there is one."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self._reader = _lower_blocks(model.model)

    @classmethod
    def load(cls, base: BaseModel, dtype: Any = None) -> "TransformersEngine":
        """The bare base model; `dtype` is a torch dtype, by default the fastest that the hardware has."""
        return cls(load_causal_lm(base, dtype or fast_dtype()), load_tokenizer(base))

    def read(self, ids: Sequence[int], spans: Sequence[tuple[int, int]]) -> tuple[Floats, Floats]:
        import torch

        with torch.inference_mode():
            batch = torch.tensor([list(ids)], device=self.model.device)
            hidden = self._reader(input_ids=batch, use_cache=False).last_hidden_state[0].float().cpu().numpy()
        mean = np.stack([hidden[a:b].mean(axis=0) for a, b in spans])
        return mean, hidden[[b - 1 for _, b in spans]]

    def write(self, ids: Sequence[int], most_tokens: int) -> str:
        import torch

        with torch.inference_mode():
            batch = torch.tensor([list(ids)], device=self.model.device)
            out = self.model.generate(
                input_ids=batch,
                attention_mask=torch.ones_like(batch),
                max_new_tokens=most_tokens,
                do_sample=False,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
            )
        text: str = self.tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)
        return text


def read_blocks(blocks: int) -> int:
    """How many of a model's blocks reading goes through; training leaves these as they are.

    18 of 30: on 191 short videos and 49 talks better than 8, 12, 15, 22 or 30.
    """
    return max(1, blocks * 6 // 10)


def _lower_blocks(backbone: Any) -> Any:
    """The same backbone, weights shared, that stops part of the way up and leaves the states as they are there."""
    import copy

    import torch

    lower = copy.copy(backbone)
    lower._modules = dict(backbone._modules)
    lower.config = copy.deepcopy(backbone.config)
    lower.config.num_hidden_layers = read_blocks(len(backbone.layers))
    lower.layers = backbone.layers[: lower.config.num_hidden_layers]
    lower.norm = torch.nn.Identity()
    return lower
