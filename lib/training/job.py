"""One training run as a file, and the steps that all methods have in common.

`lib.training.sft.train_sft`, `lib.training.dpo.train_dpo` and
`lib.training.on_policy.train.train_policy_gradient` run a job, alone or as one of many processes. A
job writes `model/` (safetensors in float32), `checkpoints/`, `metrics.jsonl`, the cached
log-probabilities of other policies that its loss needs and, for DPO, `validation_rewards.jsonl`
into its folder.
"""

import json
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lib.data.parquet import ParquetRows, read_parquet
from lib.modeling.context import changing_from
from lib.modeling.loading import (
    cast_parameters,
    check_fit,
    load_model,
    load_tokenizer,
    model_hash,
    resolve_model,
)
from lib.modeling.lora import merge_lora, with_lora
from lib.modeling.saving import ModelError, keep_terms, save_model, try_saving
from lib.runtime.devices import Device, choose_device
from lib.runtime.files import FileError, write_json
from lib.runtime.progress import say
from lib.runtime.settings import checked
from lib.training.betas.steering import Steering
from lib.training.lazy_examples import LazyExamples
from lib.training.loop import Probe, Run, train
from lib.training.objective import Objective
from lib.training.processes import Processes
from lib.training.settings import (
    DPOSettings,
    PolicyGradientSettings,
    SFTSettings,
    TrainingSettings,
)

Method = Literal["sft", "dpo", "policy_gradient"]
SETTINGS = {"sft": SFTSettings, "dpo": DPOSettings, "policy_gradient": PolicyGradientSettings}


@checked
class Job:
    """All settings of one training run; paths are strings, so that it can be a file."""

    method: Method
    model: str  # where training starts and DPO's reference: a folder, a hub id, packaged, smoke
    rows: str  # Parquet file of conversations (sft), preferences (dpo) or answers
    folder: str  # the run's output
    validation: str = ""  # Parquet file of validation rows; empty: no validation
    settings: TrainingSettings = field(default_factory=SFTSettings)
    revision: str | None = None  # hub commit of the model
    max_length: int = 512  # tokens of a conversation, or of a prompt with one answer
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # of matrix products
    attention: Literal["auto", "segments", "flex", "masked"] = "auto"  # for packed rows
    streamed: bool = False  # rows stay on disk until a step needs them
    reference: str = ""  # policy_gradient: folder of the reference; empty: `model`
    pairs: str = ""  # policy_gradient: Parquet file of preferences whose DPO loss is added

    def __post_init__(self) -> None:
        for name in ("reference", "pairs"):
            if getattr(self, name) and self.method != "policy_gradient":
                raise ValueError(f"{name} is {getattr(self, name)}, which method={self.method} "
                                 "does not read; leave it out")


@dataclass(frozen=True)
class ProbeMaker:
    """Makes a run's probe on rank 0: `function(options, tokenizer)` gives a probe or None.

    A job's file names the function as `module:name`.
    """

    function: Callable[[Mapping[str, Any], Any], Probe | None]
    options: Mapping[str, Any]


def write_job(job: Job, path: Path, make_probe: ProbeMaker | None = None) -> None:
    """Write a job as JSON, which `read_job` reads."""
    probe = {} if make_probe is None else {
        "probe": f"{make_probe.function.__module__}:{make_probe.function.__name__}",
        "probe_options": make_probe.options}
    write_json(path, asdict(job) | probe)


def read_job(path: Path | str) -> tuple[Job, ProbeMaker | None]:
    """A job and its probe from a YAML or JSON file; raises ValueError that names what is wrong."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        values = json.loads(text) if str(path).endswith(".json") else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise FileError(f"cannot read job {path}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict) or values.get("method") not in SETTINGS:
        raise ValueError(f"{path} is no training job; give method: {' or '.join(SETTINGS)}, model, "
                         "rows, folder")
    missing = [name for name in ("model", "rows", "folder") if name not in values]
    if missing:
        raise ValueError(f"{path}: {missing[0]} is missing; give model, rows and folder")
    probe, options = values.pop("probe", ""), values.pop("probe_options", {})
    try:
        settings = SETTINGS[values["method"]](**values.pop("settings", {}))
        job = Job(**values, settings=settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return job, ProbeMaker(pkgutil.resolve_name(probe), options) if probe else None


@dataclass(frozen=True)
class Setup:
    """A run's device, its tokenizer, and the float32 model that it starts from."""

    job: Job
    processes: Processes
    device: Device
    tokenizer: PreTrainedTokenizerBase
    model: PreTrainedModel

    def hash_of(self, model: str) -> str:
        """Hash of the job's model, or of another one, which is a folder."""
        return model_hash(model, self.job.revision if model == self.job.model else None)


def set_up(job: Job, processes: Processes) -> Setup:
    """Choose the device and load tokenizer and model."""
    device = choose_device(job.device, job.precision)
    device = replace(device, device=processes.local_device(device.device))
    tokenizer, model = load_tokenizer(job.model, job.revision), _start(job, device)
    check_fit(tokenizer, model.config)
    longest = changing_from(model.config)
    if longest and job.max_length > longest:
        raise ModelError(f"max_length is {job.max_length}, but the rotary frequencies of "
                         f"{job.model} change beyond {longest} tokens; use {longest} or less")
    return Setup(job, processes, device, tokenizer, model)


def _start(job: Job, device: Device) -> PreTrainedModel:
    return load_model(job.model, torch.float32, device.device, job.revision, job.attention)


def read_examples(setup: Setup, path: str, encode: Callable[..., list[Any]]) -> Sequence[Any]:
    """A file's rows, encoded all at once or (streamed) on access; no path means no rows."""
    job = setup.job
    if job.streamed and path:
        return LazyExamples(ParquetRows(path),
                            lambda row: encode([row], setup.tokenizer, job.max_length)[0])
    return encode(read_parquet(path) if path else [], setup.tokenizer, job.max_length)


def fit(setup: Setup, objective: Objective, validation: Objective | None,
        make_probe: ProbeMaker | None,
        steering: Steering | None = None) -> tuple[PreTrainedModel, dict[str, Tensor]]:
    """Train the model, from its newest checkpoint if it has one; steering: of DPO's beta.

    Returns the model, on rank 0 whole and in its compute precision, and its trained parameters in
    float32.
    """
    job, device, processes = setup.job, setup.device, setup.processes
    dtype = str(device.dtype).removeprefix("torch.")
    say(f"{run_name(job)}: training in {dtype} with float32 master weights, "
        f"{'LoRA' if job.settings.lora_rank else 'all'} parameters of {job.model}")
    if processes.main:
        try_saving(setup.model, setup.tokenizer)
    model = trainable(setup.model, job)

    def fresh_model() -> PreTrainedModel:
        """Another model of the same form."""
        return trainable(_start(job, device), job)
    state = train(Run(
        model, objective, validation, job.settings, Path(job.folder), job.seed, device.device,
        device.dtype, _probe(setup, make_probe), name=run_name(job),
        processes=processes, fresh_model=fresh_model, steering=steering,
        start=processes.from_main(setup.hash_of(job.model) if processes.main else "")))
    if processes.main:
        model = fresh_model() if processes.sharded else model
        model.load_state_dict(state, strict=False)
        cast_parameters(model, device.dtype).eval()
    return model, state


def run_name(job: Job) -> str:
    """What progress calls the run: `SFT`, `DPO`, or a part of a stage as its folder is called."""
    *_, name = parts = Path(job.folder).parts[-2:]
    return name.upper() if name in SETTINGS else "/".join(parts)


def trainable(model: PreTrainedModel, job: Job) -> PreTrainedModel:
    """The model with activation checkpointing and LoRA (drawn from the seed) as the job sets."""
    settings = job.settings
    if settings.activation_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if settings.lora_rank:
        torch.manual_seed(job.seed)
        return with_lora(model, settings.lora_rank, settings.lora_alpha, settings.lora_targets)
    return model


def _probe(setup: Setup, make_probe: ProbeMaker | None) -> Probe | None:
    """Rank 0's probe; on other ranks an empty one, because only rank 0 calls it."""
    if make_probe is None:
        return None
    processes = setup.processes
    probe = make_probe.function(make_probe.options, setup.tokenizer) if processes.main else None
    exists = processes.from_main(probe is not None)
    return probe if processes.main or not exists else lambda model, step: {}


def save_trained(setup: Setup, model: PreTrainedModel, state: Mapping[str, Tensor]) -> None:
    """Write the model with its trained parameters in float32, LoRA merged."""
    model.float()
    model.load_state_dict(state, strict=False)
    folder = Path(setup.job.folder) / "model"
    save_model(merge_lora(model), setup.tokenizer, folder)
    keep_terms(Path(resolve_model(setup.job.model)), folder)
