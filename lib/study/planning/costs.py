"""What larger models, more pairs and more samples would cost, computed from stated rates.

Training takes 6 operations a parameter and token (8 with activation checkpointing), a forward pass
2. A GPU reaches a stated share of its data sheet's dense half-precision peak; sampling also reads
the weights, keys and values once a step. Only the H200's share was measured (DPO of a 0.5B,
figures/bench/gpu.json): a table of them must say `computed`.
`python -m lib.study.planning.costs` prints the tables of this folder's README.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from lib.runtime.files import Row
from lib.runtime.progress import say
from lib.study.planning import memory
from lib.study.planning.memory import Shape
from lib.study.planning.requirements import ANSWER_TOKENS, DPO_PAIRS, PAIR_TOKENS, SFT_TOKENS
from lib.training.settings import DPOSettings, TrainingSettings

SFT_PAIRS = 8_000  # the paper's choice
PROMPTS, POOLS, PROMPT_TOKENS = 200, 6, 200  # of the evaluation
POOL = 2  # candidates for each of N, so that comparisons average over picks
ROWS = 64  # answers that are sampled together

# Of the tables, as `lib.analysis.tables.formatting.markdown_table` takes them.
COLUMNS: dict[str, str | Callable[[Row], object]] = {
    "model": "model", "GPUs": "gpu", "pairs": lambda row: f"{row['pairs']:,}", "N": "n",
    "SFT": lambda row: shown_hours(row["sft_hours"]),
    "DPO": lambda row: shown_hours(row["dpo_hours"]),
    "answers": lambda row: shown_hours(row["answers_hours"]),
    "memory a GPU": lambda row: f"{row['memory_gb']:.0f} GB",
    "list price": lambda row: f"${row['dollars']:,.0f}" if row["dollars"] >= 1 else "under $1",
    "hosted judge": lambda row: f"{row['api_minutes']:,.0f} min",
    "basis": "kind"}


@dataclass(frozen=True)
class Gpu:
    """A GPU's data sheet, the share of its peak that we assume, and a list price."""

    name: str
    memory_gb: float
    peak_flops: float  # dense bf16 or fp16 with tensor cores, FLOP/s
    bandwidth: float  # bytes/s
    share: float  # of the peak that training reaches (MFU)
    dollars_an_hour: float  # on demand; put yours here


GPUS = (Gpu("T4", 16, 65e12, 320e9, 0.25, 0.53), Gpu("A100", 80, 312e12, 2039e9, 0.40, 3.0),
        Gpu("H200", 141, 989e12, 4800e9, 0.17, 4.5))
BANDWIDTH_SHARE = 0.5  # of the data sheet's, while sampling
MODELS = {"0.5B": "Qwen/Qwen2.5-0.5B", "1.5B": "Qwen/Qwen2.5-1.5B", "7B": "Qwen/Qwen2.5-7B",
          "70B": "Qwen/Qwen2.5-72B"}


def gpu_of(name: str) -> Gpu:
    """The GPU of that name; raises ValueError with the known ones."""
    known = {gpu.name: gpu for gpu in GPUS}
    if name not in known:
        raise ValueError(f"gpu is {name!r}; use {', '.join(known)}")
    return known[name]


def shown_hours(hours: float) -> str:
    """`0.05` -> `3 min`; `2.5` -> `2.5 h`."""
    return f"{hours:,.1f} h" if hours >= 1 else f"{max(1, round(60 * hours))} min"


def training_hours(shape: Shape, tokens: float, gpu: Gpu, gpus: int,
                   recompute: bool = False) -> float:
    """Hours of training on `tokens`, split over GPUs without loss; recompute: checkpointing."""
    flops = (8 if recompute else 6) * shape.parameters * tokens
    return flops / (gpu.peak_flops * gpu.share * gpus) / 3600


def sampling_hours(shape: Shape, answers: int, gpu: Gpu, gpus: int) -> float:
    """Hours of sampling answers in batches of 64: the slower of arithmetic and reading memory."""
    read = memory.sampling_bytes(shape, ROWS, PROMPT_TOKENS + ANSWER_TOKENS // 2)
    step = max(read / (gpu.bandwidth * BANDWIDTH_SHARE),
               2 * shape.parameters * ROWS / (gpu.peak_flops * gpu.share)) / gpus
    return step * ANSWER_TOKENS * answers / ROWS / 3600


def gpus_needed(shape: Shape, settings: TrainingSettings, gpu: Gpu) -> int:
    """The smallest power of two of GPUs on which training fits, sharded if they are several."""
    for count in (2**power for power in range(11)):
        if _memory_gb(shape, settings, count) <= memory.HEADROOM * gpu.memory_gb:
            return count
    raise ValueError(f"{gpu.name}: {shape.parameters / 1e9:.0f}B parameters do not fit on 1,024")


def _memory_gb(shape: Shape, settings: TrainingSettings, gpus: int = 1) -> float:
    """Memory of each training GPU in GB; several GPUs share the model (FSDP)."""
    counted = memory.training_bytes(shape, settings, True, gpus, sharded=gpus > 1)
    return counted / 1e9 + memory.RUNTIME_GB["cuda"]


def cost_row(model: str, gpu: Gpu, pairs: int = DPO_PAIRS, samples: int = 4) -> Row:
    """The paper's recipe with a model, a GPU, a number of pairs and an N: hours and dollars.

    Raises ValueError for a model that has no entry in MODELS.
    """
    if model not in MODELS:
        raise ValueError(f"model is {model!r}; use {', '.join(MODELS)}")
    shape = memory.SHAPES[MODELS[model]]
    settings = _settings_for(shape, gpu)
    gpus = gpus_needed(shape, settings, gpu)
    again = settings.activation_checkpointing
    hours = {
        "sft": training_hours(shape, SFT_PAIRS * SFT_TOKENS, gpu, gpus, again),
        "dpo": training_hours(shape, pairs * PAIR_TOKENS, gpu, gpus, again)
        + training_hours(shape, pairs * PAIR_TOKENS, gpu, gpus) / 3,  # the reference, forward only
        "answers": sampling_hours(shape, PROMPTS * POOL * samples * POOLS, gpu, gpus)}
    total = sum(hours.values())
    return {"model": model, "gpu": f"{gpus} x {gpu.name}", "pairs": pairs, "n": samples, **{
        f"{name}_hours": value for name, value in hours.items()}, "hours": total,
        "memory_gb": _memory_gb(shape, settings, gpus),
        "dollars": total * gpus * gpu.dollars_an_hour,
        "api_minutes": PROMPTS * POOL * samples * POOLS / 40, "kind": "computed"}


def _settings_for(shape: Shape, gpu: Gpu) -> TrainingSettings:
    """The paper's DPO settings; a small GPU or a large model needs activation checkpointing."""
    plain = DPOSettings(token_budget=32768)
    if _memory_gb(shape, plain) <= memory.HEADROOM * gpu.memory_gb:
        return plain
    return replace(plain, token_budget=4096, activation_checkpointing=True)


def recipe_costs() -> list[Row]:
    """The paper's recipe on three GPUs, and with larger models."""
    return [cost_row(model, gpu) for model in MODELS for gpu in GPUS
            if not (gpu.name == "T4" and model in ("7B", "70B"))]


def scale_costs() -> list[Row]:
    """A million pairs for every size of model, and more samples a prompt, on the largest GPU."""
    return ([cost_row(model, GPUS[-1], pairs=1_000_000) for model in MODELS]
            + [cost_row("0.5B", GPUS[-1], samples=n) for n in (4, 16, 64)])


def cost_tables() -> str:
    """Both tables as Markdown, as the README shows them."""
    from lib.analysis.tables.formatting import markdown_table  # takes seconds to import
    return "\n\n".join(markdown_table(rows, COLUMNS) for rows in (recipe_costs(), scale_costs()))


if __name__ == "__main__":
    say(cost_tables())
