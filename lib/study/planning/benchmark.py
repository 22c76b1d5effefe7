"""How fast this machine trains, reads and samples: the study's own code on a small random model.

The model has the width, the heads and the layers' shape of the run's model, and as many layers and
words as a few seconds allow. The rates are operations a second, so that they hold for all layers.
They are kept by machine and model, unless other programs took part of the machine meanwhile.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from lib.runtime.devices import Device, machine_name
from lib.runtime.files import Row, read_json, sha256_of_value, write_json
from lib.runtime.manifest import code_hash
from lib.runtime.places import kept
from lib.runtime.threads import cores, used_by_others
from lib.study.planning.memory import Shape

if TYPE_CHECKING:
    import torch

SECONDS, ROUNDS = 1.2, 20  # of each measurement, whichever is over first
MOST_LAYERS, MOST_WORDS = 25e6, 30e6  # parameters of layers and of words in the benchmark's model
TOKENS, PROMPT = 512, 40  # of a packed row; of a prompt that is answered
BUSY = 0.25  # share of the machine that other programs take, from which on rates are not kept


@dataclass(frozen=True)
class Rates:
    """Operations a second by kind of work, parameters updated a second, and their origin."""

    training: float  # forward and backward passes, 6 operations a weight and token
    updating: float  # AdamW's steps
    reading: float  # forward passes alone, 2 operations a weight and token
    sampling: float  # decoding, the same
    origin: str


def measured_rates(shape: Shape, device: Device, rows: int) -> Rates:
    """The machine's rates for models of this shape; rows: answers sampled at once.

    Takes seconds the first time; afterwards they come from the cache, with their date.
    """
    made_for = [asdict(shape), rows, str(device.device), str(device.dtype),
                machine_name(device.device), code_hash("modeling", "training", "inference")]
    file = kept("cache") / "rates" / f"{sha256_of_value(made_for)[:16]}.json"
    if file.exists():
        found = read_json(file)
        return Rates(**found["rates"], origin=f"measured here on {found['date']} ({file})")
    before, started = used_by_others(), time.perf_counter()
    rates = _measured(smaller(shape), device, rows)
    seconds = time.perf_counter() - started
    others = max(0.0, used_by_others() - before) / seconds / cores()
    origin = f"measured here just now in {seconds:.0f} s"
    if others > BUSY:
        return Rates(**rates, origin=f"{origin}, while other programs took {others:.0%} of this "
                                     "machine; alone it is faster")
    write_json(file, {"rates": rates, "date": time.strftime("%Y-%m-%d")})
    return Rates(**rates, origin=origin)


def smaller(shape: Shape) -> Shape:
    """A shape of fewer layers and words that takes seconds, and whose operations cost as much."""
    return replace(
        shape, layers=max(1, min(shape.layers, round(MOST_LAYERS / shape.layer_parameters))),
        vocabulary=max(64, min(shape.vocabulary, round(MOST_WORDS / shape.width))), tied=True)


def _measured(shape: Shape, device: Device, rows: int) -> Row:
    import torch
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _random_model(shape)
    model.to(device.device)

    def tokens(count: int) -> tuple[int, ...]:
        """Random ids."""
        return tuple(torch.randint(shape.vocabulary, (count,), generator=generator).tolist())
    training, updating = _training(model, shape, device, tokens)
    return {"training": training, "updating": updating,
            "reading": _reading(model, shape, device, tokens),
            "sampling": _sampling(model, shape, rows, tokens)}


def _random_model(shape: Shape) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    from lib.modeling.packed.attention import use_packed_attention
    width = shape.query_width // shape.heads
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.width, num_hidden_layers=shape.layers,
        intermediate_size=shape.intermediate, num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads if shape.heads % shape.kv_heads == 0 else shape.heads,
        head_dim=width + width % 2, tie_word_embeddings=True, max_position_embeddings=4 * TOKENS))
    use_packed_attention(model)
    return model


def _training(model: Any, shape: Shape, device: Device,
              tokens: Callable[[int], tuple[int, ...]]) -> tuple[float, float]:
    """Rates of passes over one packed row, and of updates."""
    from lib.modeling.packed.lean_activations import recompute_norms_and_mlps
    from lib.modeling.packed.packing import SharedPrompt
    from lib.training.engine.optimizer import MasterWeights, build_optimizer, clip_gradients
    from lib.training.objective import RowLoss
    from lib.training.settings import SFTSettings
    from lib.training.sft import SFTObjective
    settings = SFTSettings(token_budget=TOKENS)
    third = TOKENS // 3
    objective = SFTObjective([SharedPrompt((), (tokens(third),), ((0,) * (third // 3) + (1,) * (
        third - third // 3),)) for _ in range(3)], TOKENS)
    recompute_norms_and_mlps(model)
    weights, loss_of = MasterWeights(model, device.dtype), RowLoss(model)
    optimizer = build_optimizer(weights, settings)
    row = objective.rows(range(3), device.device)[0]

    def step() -> None:
        """One forward and backward pass."""
        loss = loss_of(objective, row)[0]
        loss.backward()
        loss.item()  # waits for the GPU

    def update() -> None:
        """Clip and add the gradients."""
        clip_gradients(weights, settings.max_grad_norm)
        optimizer.step()
        weights.copy_to_model()
        _wait(device.device)
    passes = 6 * (row.batch.tokens * shape.layers * shape.layer_parameters
                  + objective.weight(range(3)) * shape.vocabulary * shape.width)
    trained, updated = passes / _seconds(step), shape.parameters / _seconds(update)
    optimizer.zero_grad(set_to_none=True)
    weights.release()
    return trained, updated


def _reading(model: Any, shape: Shape, device: Device,
             tokens: Callable[[int], tuple[int, ...]]) -> float:
    """Rate of passes through all layers over a packed row of prompts with four answers each."""
    from lib.modeling.packed.hidden import hidden_states
    from lib.modeling.packed.packing import SharedPrompt, collate
    size = TOKENS // 10
    batch = collate([SharedPrompt(tokens(size), tuple(tokens(size) for _ in range(4)))
                     for _ in range(4)], device.device)

    def read() -> None:
        """One pass, to the last layer's states."""
        hidden_states(model, batch, [shape.layers])
        _wait(device.device)
    model.eval()
    return 2 * shape.layers * shape.layer_parameters * batch.tokens / _seconds(read)


def _sampling(model: Any, shape: Shape, rows: int,
              tokens: Callable[[int], tuple[int, ...]]) -> float:
    """Rate of decoding steps with all rows."""
    import torch

    from lib.inference.engine.decoding import Engine, SampleRequest
    from lib.inference.engine.sampling_mode import sampling_mode
    from lib.inference.sampling_settings import SamplingSettings
    settings = SamplingSettings(samples=rows, rows=rows, temperature=0.6, top_k=50,
                                max_new_tokens=4 * ROUNDS, max_prompt_tokens=PROMPT)
    with torch.inference_mode(), sampling_mode(model):
        engine = Engine(model, settings, [], [SampleRequest("p", 0, tokens(PROMPT))])
        return 2 * rows * shape.parameters / _seconds(engine.step)


def _seconds(work: Callable[[], object]) -> float:
    """Seconds that it takes, on average after one round that PyTorch needs to get ready."""
    work()
    started, rounds = time.perf_counter(), 0
    while rounds < ROUNDS and (not rounds or time.perf_counter() - started < SECONDS):
        work()
        rounds += 1
    return (time.perf_counter() - started) / rounds


def _wait(device: "torch.device") -> None:
    """Wait until a GPU has done what it was told."""
    import torch
    if device.type == "cuda":
        torch.cuda.synchronize(device)
