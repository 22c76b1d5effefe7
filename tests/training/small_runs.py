"""Small models, data and runs that the tests of training share."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from lib.modeling.loading import rounded_to
from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.packed.logps import response_token_logps
from lib.modeling.packed.packing import SharedPrompt
from lib.training.dpo import DPOObjective
from lib.training.loop import Loop, Run
from lib.training.objective import step_batches
from lib.training.on_policy.answers import Answer, answer_rows
from lib.training.on_policy.policy_gradient import PolicyGradientObjective
from lib.training.on_policy.summed import SummedObjective
from lib.training.pairs import Pair, group_by_prompt
from lib.training.processes import ALONE, Processes
from lib.training.reference import reference_logps
from lib.training.settings import DPOSettings, PolicyGradientSettings, SFTSettings, TrainingSettings
from lib.training.sft import SFTObjective

METHODS = ("sft", "dpo", "dpo_plus_rloo")
CPU = torch.device("cpu")
SFT = SFTSettings(learning_rate=1e-3, batch_size=7, token_budget=40, epochs=2, checkpoint_every=2,
                  evaluate_every=2, weight_decay=0.1)
DPO = DPOSettings(learning_rate=1e-3, batch_size=5, token_budget=60, epochs=2, checkpoint_every=2,
                  evaluate_every=2)
RLOO = PolicyGradientSettings(learning_rate=1e-3, batch_size=8, token_budget=30, epochs=2,
                              checkpoint_every=2, evaluate_every=2)


class Interrupted(Exception):
    """Raised in the middle of a run, on every rank."""


def model() -> PreTrainedModel:
    torch.manual_seed(0)
    made = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=61, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64,
        tie_word_embeddings=True, attention_dropout=0.5))
    use_packed_attention(made, "segments")
    return made


def ids(count: int) -> tuple[int, ...]:
    return tuple(torch.randint(3, 61, (count,)).tolist())


def sequences() -> list[SharedPrompt]:
    torch.manual_seed(1)
    made = []
    for _ in range(24):
        prompt, answer = ids(int(torch.randint(2, 9, ()))), ids(int(torch.randint(1, 12, ())))
        mask = (0,) * len(prompt) + (1,) * len(answer)
        made.append(SharedPrompt((), (prompt + answer,), (mask,)))
    return made


def pairs() -> list[Pair]:
    """Twelve prompts, some with two pairs that share an answer."""
    torch.manual_seed(2)
    made = []
    for number in range(12):
        prompt, best, middle, worst = ids(5), ids(6), ids(4), ids(7)
        made.append(Pair(f"{number}/0", prompt, best, worst, 2.0))
        if number % 2:
            made.append(Pair(f"{number}/1", prompt, best, middle, 1.0))
    return made


def dpo_objective(policy: PreTrainedModel, folder: Path, settings: DPOSettings = DPO,
                  processes: Processes = ALONE, device: torch.device = CPU) -> DPOObjective:
    """The pairs with `policy` as their reference."""
    made = pairs()
    batches = step_batches(group_by_prompt(made), settings, 0)
    reference = reference_logps(policy, made, batches, settings.token_budget, "model",
                                folder / "reference.jsonl", device, processes=processes)
    return DPOObjective(made, reference, settings)


def answers() -> list[Answer]:
    """Ten prompts with three answers each, the first of which is also to be imitated."""
    torch.manual_seed(3)
    made = []
    for number in range(10):
        prompt = ids(5)
        made += [Answer(f"{number}/{place}", prompt, ids(int(torch.randint(1, 9, ()))),
                        float(torch.rand(())), sft_weight=0.1 * (place == 0))
                 for place in range(3)]
    return made


def policy_objective(policy: PreTrainedModel, settings: PolicyGradientSettings = RLOO,
                     examples: Sequence[Answer] = ()) -> PolicyGradientObjective:
    """The answers (ten prompts' by default), with `policy` as what sampled them and reference."""
    examples = examples or answers()
    old: dict[int, torch.Tensor] = {}
    with torch.no_grad():
        for row in answer_rows(examples, range(len(examples)), settings.token_budget,
                               policy.device):
            parts = response_token_logps(policy, row.batch).cpu().split(
                [len(examples[i].tokens) for i in row.examples])
            old |= dict(zip(row.examples, parts, strict=True))
    logps = [old[i] for i in range(len(examples))]
    return PolicyGradientObjective(examples, logps, torch.stack([each.sum() for each in logps]),
                                   settings)


def run_of(method: str, folder: Path, processes: Processes = ALONE,
           dtype: torch.dtype = torch.float32,
           settings: TrainingSettings | None = None,
           device: torch.device = CPU) -> Run:
    """A run of a method, validated on its own examples."""
    policy = model().to(device)
    if method == "sft":
        settings = settings or SFT
        objective = SFTObjective(sequences(), settings.token_budget)
    elif method == "dpo_plus_rloo":
        settings = settings or RLOO
        with rounded_to(policy, dtype):
            objective = SummedObjective({
                "dpo": (dpo_objective(policy, folder, DPO, processes, device), 1.0),
                "policy": (policy_objective(policy, settings), 0.5)})
    else:
        settings = settings or DPO
        with rounded_to(policy, dtype):
            objective = dpo_objective(policy, folder, settings, processes, device)
    return Run(policy, objective, objective, settings, folder, 0, device, dtype, name=method,
               processes=processes)


def finish(run: Run, cut_at: int = 0) -> dict[str, torch.Tensor]:
    """Train to the end, or raise Interrupted instead of step `cut_at` + 1."""
    loop = Loop(run)
    step = loop._optimizer_step

    def stopping(examples: list[int]) -> dict[str, float]:
        if cut_at and loop.step == cut_at:
            raise Interrupted
        return step(examples)
    loop._optimizer_step = stopping
    loop.finish()
    return loop.state_dict()
