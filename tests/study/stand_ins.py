"""Everything that the paper profile fetches, made small and local: model, judge, data sets, API.

The model has Qwen2.5's special tokens in their order and its chat template, in the wording of the
base model; data sets have the hub's schemas, configurations and splits.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import torch
from tokenizers import AddedToken
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForSequenceClassification,
)

from lib import ROOT
from lib.modeling.smoke import smoke_tokenizer
from lib.runtime.files import read_jsonl

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>",
           "<|object_ref_end|>", "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>",
           "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
PLAIN = ("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
         "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>")
INSTRUCT = (files("trl") / "chat_templates" / "qwen2_5.jinja").read_text(encoding="utf-8")
BASE = INSTRUCT.replace("You are Qwen, created by Alibaba Cloud. You are", "You are")
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2}
MESSAGES = pa.list_(pa.struct([("content", pa.string()), ("role", pa.string())]))
SMOLTALK = pa.schema([("messages", MESSAGES), ("source", pa.string())])
ULTRAFEEDBACK = pa.schema([
    ("prompt", pa.string()), ("prompt_id", pa.string()), ("chosen", MESSAGES),
    ("rejected", MESSAGES), ("messages", MESSAGES), ("score_chosen", pa.float64()),
    ("score_rejected", pa.float64())])


def qwen_tokenizer(template: str = BASE) -> PreTrainedTokenizerFast:
    """A small byte-level vocabulary, then Qwen2.5's added tokens; both ends are <|endoftext|>."""
    inner = smoke_tokenizer(400)._tokenizer
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False)
                              for token in CONTROL])
    inner.add_tokens([AddedToken(token, special=False, normalized=False) for token in PLAIN])
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|endoftext|>",
                                   pad_token="<|endoftext|>", chat_template=template)


def qwen_folder(folder: Path, template: str = BASE) -> Path:
    """A tiny base model as Qwen publishes one; its answers end after a few words."""
    tokenizer = qwen_tokenizer(template)
    torch.manual_seed(0)
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=len(tokenizer), **SIZES, max_position_embeddings=4096, rope_theta=1e6,
        tie_word_embeddings=True, bos_token_id=end, eos_token_id=end, initializer_range=0.1))
    with torch.no_grad():  # a long vector: the end of turn is often the likeliest token
        model.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids("<|im_end|>")] *= 4
    model.generation_config.eos_token_id = end
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def judge_folder(folder: Path, seed: int = 1) -> Path:
    """A reward model with one output."""
    tokenizer = qwen_tokenizer()
    torch.manual_seed(seed)
    Qwen2ForSequenceClassification(Qwen2Config(
        vocab_size=len(tokenizer), **SIZES, num_labels=1, initializer_range=0.3,
        pad_token_id=tokenizer.pad_token_id)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def chat(prompt: str, answer: str) -> list[dict[str, str]]:
    return [{"content": prompt, "role": "user"}, {"content": answer, "role": "assistant"}]


def smoltalk(folder: Path, rows: int = 40) -> Path:
    """HuggingFaceTB/smoltalk: configuration `all`, split `train`."""
    talk = [{"messages": [{"content": m["content"], "role": m["role"]} for m in row["messages"]],
             "source": row["source"]}
            for row in read_jsonl(ROOT / "data" / "sample" / "sft.jsonl")[:rows]]
    return _repository(folder, "all", {"train": talk}, SMOLTALK)


def ultrafeedback(folder: Path, rows: int = 40, tests: int = 8) -> Path:
    """HuggingFaceH4/ultrafeedback_binarized with its six splits."""
    pairs = [_pair(row) for row in
             read_jsonl(ROOT / "data" / "sample" / "preferences.jsonl")[:rows + tests]]
    train, test = pairs[:rows], pairs[rows:]
    return _repository(folder, "default", {
        "train_prefs": train, "train_sft": train, "train_gen": train, "test_prefs": test,
        "test_sft": test, "test_gen": test}, ULTRAFEEDBACK)


def _pair(row: dict) -> dict:
    """A row of the sample, which has the hub's columns and more, in the hub's columns alone."""
    prompt = row["prompt"]
    chosen, rejected = (row[side][-1]["content"] for side in ("chosen", "rejected"))
    return {"prompt": prompt, "prompt_id": row["prompt_id"], "chosen": chat(prompt, chosen),
            "rejected": chat(prompt, rejected), "messages": chat(prompt, chosen),
            "score_chosen": 8.5, "score_rejected": 4.0}


def _repository(folder: Path, config: str, splits: dict, schema: pa.Schema) -> Path:
    """A folder as a hub repository has it: Parquet files and a card that names them."""
    (folder / "data").mkdir(parents=True)
    for split, rows in splits.items():
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows, schema),
                                    folder / "data" / f"{split}-00000-of-00001.parquet")
    card = {"configs": [{"config_name": config, "data_files": [
        {"split": split, "path": f"data/{split}-*"} for split in splits]}]}
    (folder / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n", encoding="utf-8")
    return folder


class _Scores(BaseHTTPRequestHandler):
    """Nemotron's replies: a reward that depends on the answer, or one status for everything."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        answer = body["messages"][-1]["content"]
        reward = -(int(hashlib.sha256(answer.encode()).hexdigest()[:6], 16) % 2000) / 100
        status = 200 if self.headers.get("Authorization") == "Bearer nvapi-right" else 401
        status = self.server.status or status
        text = json.dumps({"choices": [{"message": {"role": "assistant",
                                                    "content": f"reward:{reward}"}}]})
        reply = (text if status == 200 else "{}").encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextmanager
def nvidia_server(status: int = 0) -> Iterator[ThreadingHTTPServer]:
    """A reward API on loopback whose key is nvapi-right; `status` answers every call with it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Scores)
    server.daemon_threads = True
    server.status, server.bodies = status, []
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
