"""A random two-layer Qwen2 with a small tokenizer trained on the sample, for tests and CI.

It says nothing about language: it lets every line of the study run in seconds. Same seed, same
files.
"""

import shutil
from pathlib import Path

import torch
from filelock import FileLock
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from lib import ROOT
from lib.modeling.saving import save_model
from lib.runtime.files import folder_aside, read_jsonl, sha256_of, sha256_of_value
from lib.runtime.places import kept

TEXTS = ROOT / "data" / "sample" / "sft.jsonl"
CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
          "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def smoke_model(folder: Path | None = None, seed: int = 0) -> Path:
    """Folder of the random model, made on first use; a rename puts it there whole.

    It is kept by the hash of what makes it, because all checkouts share one folder of models.
    """
    folder = folder or kept("models") / f"smoke-{_origin()}"
    if (folder / "tokenizer_config.json").exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")), folder_aside(folder) as aside:
        if not (folder / "tokenizer_config.json").exists():  # by now
            _make(aside / "model", seed)
            shutil.rmtree(folder, ignore_errors=True)
            (aside / "model").rename(folder)
    return folder


def _make(folder: Path, seed: int) -> None:
    tokenizer = smoke_tokenizer()
    torch.manual_seed(seed)
    save_model(Qwen2ForCausalLM(smoke_config(tokenizer)), tokenizer, folder)


def _origin() -> str:
    return sha256_of_value([sha256_of(__file__), sha256_of(TEXTS)])[:12]


def smoke_config(tokenizer: PreTrainedTokenizerFast) -> Qwen2Config:
    """Two layers of width 64, tied embeddings, grouped-query attention, context 1,024."""
    return Qwen2Config(vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128,
                       num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                       max_position_embeddings=1024, tie_word_embeddings=True,
                       bos_token_id=None, eos_token_id=0, pad_token_id=0)


def smoke_tokenizer(vocabulary: int = 1024) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on the sample's SFT texts, with ChatML as its chat template."""
    texts = [message["content"] for row in read_jsonl(TEXTS)
             for message in row["messages"]]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=SPECIAL_TOKENS, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>",
                                   pad_token="<|endoftext|>", chat_template=CHATML)
