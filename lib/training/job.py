"""One training run as a file: what to train on what, and where to.

`python -m lib.training --config FILE` and the study's stages run the same job, alone or on many
processes. A job writes `model/` (safetensors in float32), `checkpoints/`, `metrics.jsonl` and, for
DPO, `validation_rewards.jsonl` and the cached reference log-probabilities into its folder.
"""

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lib.data.parquet import ParquetRows, read_parquet
from lib.modeling.loading import (
    cast_parameters,
    load_model,
    load_tokenizer,
    model_hash,
)
from lib.modeling.lora import merge_lora, with_lora
from lib.modeling.saving import save_model
from lib.runtime.devices import Device, choose_device
from lib.runtime.files import FileError, write_json, write_jsonl
from lib.runtime.progress import say
from lib.training.dpo import DPOObjective, Pair, encode_pairs, pair_rewards
from lib.training.lazy_examples import Encoded
from lib.training.loop import Probe, Run, train
from lib.training.objective import step_batches
from lib.training.parallel.processes import ALONE, Processes, local_device
from lib.training.reference import reference_logps
from lib.training.settings import DPOSettings, SFTSettings, TrainingSettings
from lib.training.sft import SFTObjective, encode_sft

SETTINGS = {"sft": SFTSettings, "dpo": DPOSettings}


@dataclass(frozen=True)
class Job:
    """What one training run is made from; paths are texts, so that it can be a file."""

    method: Literal["sft", "dpo"]
    model: str  # where training starts and DPO's reference: a folder, a hub id, packaged, smoke
    rows: str  # Parquet file of conversations (sft) or preferences (dpo)
    folder: str  # what is written goes here
    validation: str = ""  # Parquet file of held-back rows; empty: none
    settings: TrainingSettings = field(default_factory=SFTSettings)
    revision: str | None = None  # hub commit of the model
    max_length: int = 512  # tokens of a conversation, or of a prompt with one answer
    seed: int = 0
    device: str = "auto"  # auto, cpu or cuda
    precision: str = "auto"  # of matrix products: auto, float32, bfloat16 or float16
    attention: str = "auto"  # for packed rows: auto, segments, flex or masked
    probe: str = ""  # module:function(options, tokenizer) that makes a probe; see loop.Probe
    probe_options: dict[str, Any] = field(default_factory=dict)
    streamed: bool = False  # rows stay on disk and are encoded when a step needs them


def read_job(path: Path | str) -> Job:
    """A job from a YAML or JSON file; raises ValueError that names what is wrong with it."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        values = json.loads(text) if str(path).endswith(".json") else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise FileError(f"cannot read job {path}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict) or values.get("method") not in SETTINGS:
        raise ValueError(f"{path} is no training job; give method: sft or dpo, model, rows, folder")
    settings = SETTINGS[values["method"]]
    _refuse_unknown(path, values, Job)
    _refuse_unknown(path, values.get("settings", {}), settings)
    missing = [name for name in ("model", "rows", "folder") if name not in values]
    if missing:
        raise ValueError(f"{path}: {missing[0]} is missing; give model, rows and folder")
    try:
        chosen = {name: _number(value) for name, value in values.get("settings", {}).items()}
        return Job(**values | {"settings": settings(**chosen)})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: settings: {error}") from error


def _refuse_unknown(path: Path | str, values: Mapping[str, Any], kind: type) -> None:
    known = [one.name for one in fields(kind)]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"{path}: unknown setting {unknown[0]}; known here: {', '.join(known)}")


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-5 as text (it wants 1.0e-5); take such text as the number it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def write_job(job: Job, path: Path) -> None:
    """Write a job as JSON, which `read_job` reads."""
    write_json(path, asdict(job))


def run_job(job: Job, processes: Processes = ALONE) -> None:
    """Train, or go on training, and write the model; every process of the run calls it.

    Raises FileError, ModelError, TrainingError or ValueError, each one sentence.
    """
    device = choose_device(job.device, job.precision)
    if processes.count > 1:
        device = replace(device, device=local_device(device.device.type == "cpu"))
    tokenizer = load_tokenizer(job.model, job.revision)
    objective, validation = (_sft_objectives(job, tokenizer) if job.method == "sft"
                             else _dpo_objectives(job, tokenizer, device, processes))
    say(f"training in {str(device.dtype).removeprefix('torch.')} with float32 master weights, "
        f"{'LoRA' if job.settings.lora_rank else 'all'} parameters of {job.model}")
    model = load_trainable(job, device)
    state = train(Run(
        model, objective, validation, job.settings, Path(job.folder), job.seed, device.device,
        device.dtype, _probe(job, tokenizer, processes), name=Path(job.folder).name.upper(),
        processes=processes, plain=lambda: load_trainable(job, device)))
    if processes.main:
        _finish(job, model if not processes.sharded else load_trainable(job, device), state,
                tokenizer, validation, device)


def _sft_objectives(job: Job, tokenizer: Any) -> tuple[SFTObjective, SFTObjective | None]:
    train_rows, validation = (SFTObjective(sequences, job.settings.token_budget)
                              for sequences in _both(job, encode_sft, tokenizer))
    return train_rows, validation if job.validation else None


def _both(job: Job, encode: Callable[..., list[Any]], tokenizer: Any) -> list[Sequence[Any]]:
    """Training and validation rows, encoded: all at once, or (streamed) as they are needed."""
    def of_file(path: str) -> Sequence[Any]:
        """The examples of one file; none where there is no file."""
        if job.streamed and path:
            return Encoded(ParquetRows(path),
                           lambda row: encode([row], tokenizer, job.max_length)[0])
        return encode(read_parquet(path) if path else [], tokenizer, job.max_length)
    return [of_file(job.rows), of_file(job.validation)]


def _dpo_objectives(job: Job, tokenizer: Any, device: Device,
                    processes: Processes) -> tuple[DPOObjective, DPOObjective | None]:
    """Both objectives with the starting model's log-probabilities as reference."""
    bare = replace(job, settings=replace(job.settings, lora_rank=0))
    model = cast_parameters(load_trainable(bare, device), device.dtype)
    key, objectives = model_hash(job.model), []
    for name, pairs in zip(("training", "validation"), _both(job, encode_pairs, tokenizer),
                           strict=True):
        reference = reference_logps(
            model, pairs, _batches(job, pairs, name), job.settings.token_budget, key,
            Path(job.folder) / f"reference_{name}.jsonl", device.device, f"reference ({name})",
            processes)
        objectives.append(DPOObjective(pairs, reference, job.settings))
    return objectives[0], objectives[1] if job.validation else None


def _batches(job: Job, pairs: Sequence[Pair], name: str) -> list[list[int]]:
    """The batches in which a reference is computed: training's steps, or all pairs at once."""
    objective = DPOObjective(pairs, None, job.settings)
    if name == "training":
        return step_batches(objective, job.settings, job.seed)
    return [[i for group in objective.groups for i in group]]


def _probe(job: Job, tokenizer: Any, processes: Processes) -> Probe | None:
    """The job's probe, which runs on rank 0; the others only know that there is one."""
    if not job.probe:
        return None
    module, _, name = job.probe.partition(":")
    make = getattr(importlib.import_module(module), name)
    probe = make(job.probe_options, tokenizer) if processes.main else None
    there_is_one = processes.from_main(probe is not None)
    return probe if processes.main or not there_is_one else _not_here


def _not_here(model: Any, step: int) -> dict[str, float]:
    raise AssertionError("only rank 0 probes")


def load_trainable(job: Job, device: Device) -> PreTrainedModel:
    """A float32 model on the device, with LoRA or activation checkpointing if asked for."""
    settings = job.settings
    model = load_model(job.model, torch.float32, device.device, job.revision, job.attention)
    if settings.activation_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if settings.lora_rank:
        return with_lora(model, settings.lora_rank, settings.lora_alpha)
    return model


def _finish(job: Job, model: PreTrainedModel, state: dict[str, torch.Tensor],
            tokenizer: PreTrainedTokenizerBase, validation: Any, device: Device) -> None:
    """Write the model, and DPO's rewards of the validation pairs."""
    folder = Path(job.folder)
    if validation is not None and job.method == "dpo":
        model.load_state_dict(state, strict=False)
        rewards = pair_rewards(cast_parameters(model, device.dtype).eval(), validation,
                               device.device)
        write_jsonl(folder / "validation_rewards.jsonl", rewards)
    model.float()
    model.load_state_dict(state, strict=False)
    save_model(merge_lora(model), tokenizer, folder / "model")
