"""What tests share: a tiny random model with a real tokenizer, small corpora, an ephemeral deployment."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from chapter_assets.defs.build import build_definitions
from chapter_assets.inference.base_models import find_base_model
from chapter_assets.inference.engine import TransformersEngine
from chapter_assets.store import Store

SAMPLE = Path(__file__).parents[1] / "data" / "corpus" / "sample"
_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random 2-layer Llama with a byte-level tokenizer trained on the sample: same code paths, no quality."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-model")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=800, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train([str(SAMPLE / "asrs.json")], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=_CHATML
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        bos_token_id=None,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_engine(tiny_model: Path) -> TransformersEngine:
    """The tiny model, run for real, in float32."""
    import torch

    return TransformersEngine.load(find_base_model(str(tiny_model), tiny_model.parent), torch.float32)


class Deployment:
    """A project of its own in a temporary folder: corpus, store, instance and definitions."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.corpus, self.instance, self.store = root / "corpus", instance, Store(root / "store")
        self.feedback = root / "feedback"
        self.definitions = build_definitions()

    def add_shard(self, key: str, chapters: Any, asrs: Any) -> None:
        """Write a shard's two files (a str is written as it is) and register it."""
        folder = self.corpus / key
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in (("chapters", chapters), ("asrs", asrs)):
            (folder / f"{name}.json").write_text(value if isinstance(value, str) else json.dumps(value))
        self.instance.add_dynamic_partitions("corpus_shard", [key])

    def add_sample(self) -> None:
        self.add_shard("sample", (SAMPLE / "chapters.json").read_text(), (SAMPLE / "asrs.json").read_text())

    def run(self, job: str, key: str, ops: dict[str, Any] | None = None) -> dg.ExecuteInProcessResult:
        """Execute a job for one partition; the result says whether it succeeded."""
        kind = {"ingest_corpus": "corpus_shard", "ingest_feedback": "feedback_batch"}.get(job, "finetune")
        self.instance.add_dynamic_partitions(kind, [key])
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=key, run_config={"ops": ops or {}}, raise_on_error=False
        )


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The messages of the steps that failed."""
    events = result.filter_events(lambda event: event.is_step_failure)
    errors = [event.step_failure_data.error for event in events]
    return "\n".join(str(error.cause.message if error.cause else error.message) for error in errors)


@pytest.fixture
def deployment(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """An empty deployment on the tiny model."""
    monkeypatch.setenv("CHAPTER_ASSETS_CORPUS_DIR", str(tmp_path / "corpus"))
    monkeypatch.setenv("CHAPTER_ASSETS_FEEDBACK_DIR", str(tmp_path / "feedback"))
    monkeypatch.setenv("CHAPTER_ASSETS_STORE_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("CHAPTER_ASSETS_BASE_MODEL", str(tiny_model))
    monkeypatch.setenv("CHAPTER_ASSETS_WINDOW_TOKENS", "600")
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield Deployment(tmp_path, instance)
