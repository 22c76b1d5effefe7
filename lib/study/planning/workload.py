"""What each stage of a run computes, counted from the profile before any of it is done.

A stage trains on tokens, reads tokens, samples tokens, and takes some seconds whatever the model:
`Work`. The sample's lengths were counted with its own tokenizer, the hub's are means of the paper's
data sets. Every stage is here, with its evaluations, its reference pass and its probe, and what the
notebooks do beside their stages.
"""

from collections.abc import Iterator
from math import ceil

from lib.inference.judges.settings import LLM
from lib.runtime.progress import counted
from lib.study.beyond.catalogue import ARMS, MATCHING, SAMPLES, STEERED
from lib.study.beyond.settings import PROBES, TRIALS
from lib.study.planning import requirements
from lib.study.planning.memory import SHAPES, shape_of, trained_parameters
from lib.study.planning.requirements import shape_for
from lib.study.planning.work import Lengths, StageWork, Work, lengths_of
from lib.study.policies import planned_deep_pools, planned_pools
from lib.study.pools.pool import Pool
from lib.study.profiles import Profile
from lib.training.settings import REFERENCE_FREE, TrainingSettings

DEPTH = 19 / 30  # of the layers that the heads of embedded reward models read
SCORED_ANSWERS = 5080  # answers of the sample on which the embedded heads are fitted and tested
AUDIT_ANSWERS = 480  # answers of the audit, which every judge scores once
CHOICES, OPENINGS = 48, 32  # questions of movement's multiple choice, tokens of their openings
DISTRIBUTION_HEADS = 6  # passes of the head that comparing two whole distributions costs
FIT, STATISTICS, AGAIN = 20.0, 35.0, 5.0  # seconds: heads on shipped features; results; a model's
# loading and writing. Measured on two cores
NOTEBOOKS = {"01_data": 10.0, "02_sft": 15.0, "03_dpo": 18.0, "04_best_of_n": 15.0,
             "05_analysis": 20.0, "06_beyond_the_paper": 12.0, "07_appendix": 15.0}  # seconds of a
# kernel's start, of figures and of the export, beside the stages
SHOWN_ANSWERS = 6  # of base and SFT that notebook 02 samples to show


def planned_work(profile: Profile) -> Iterator[StageWork]:
    """Every stage of the run, in its order."""
    data, lengths, judged = profile.data, lengths_of(profile), profile.rewards.scoring
    own = requirements.pair_answers(profile)
    yield StageWork("data", "01_data", "read, curate, split",
                    Work(seconds=3 if data.source == "sample" else 300))
    yield _sft(profile, lengths)
    if "embedded" in (judged.selector, judged.judge):
        yield StageWork("rewards", "03_dpo", *_heads_fit(profile))
    if own:
        yield StageWork("pairs", "03_dpo", f"{own:,} answers of the SFT model, from which its "
                        "pairs are made", _answers(profile, own, data.pair_samples, 1))
    if beside := requirements.filter_answers(profile):
        yield StageWork("chosen_pairs", "03_dpo", f"{beside:,} answers of the SFT model, beside "
                        "which pairs are filtered", _answers(profile, beside, data.fdpo_samples, 1))
    yield _dpo(profile, lengths, bool(own))
    warned = profile.evaluation.warning_run and profile.evaluation.probe_prompts
    if (data.source == "sample" or own) and warned:
        yield _warning(profile, lengths, bool(own))
    yield _pools("responses", profile, planned_pools(profile),
                 f"of about {_answer_tokens(profile):.0f} tokens, scored")
    if profile.evaluation.deep_samples:
        yield _pools("deep", profile, planned_deep_pools(profile), "for a long Best-of-N curve")
    yield StageWork("selection", "04_best_of_n", "curves of Best-of-N", Work(seconds=5))
    yield StageWork("movement", "05_analysis", "base, SFT and DPO on text outside training",
                    _movement(profile, lengths))
    yield StageWork("results", "05_analysis", "statistics, figures, viewers", Work(
        seconds=STATISTICS) + _scoring(profile, AUDIT_ANSWERS, 4))
    if profile.beyond.arms:
        methods = counted(len(profile.beyond.arms), "more method")
        yield StageWork("beyond", "06_beyond_the_paper", f"{methods} with "
                        f"{profile.beyond.trained_tokens:,} training tokens each, at most",
                        sum((_arm(profile, lengths, name) for name in profile.beyond.arms), Work()))


def beside_stages(profile: Profile) -> dict[str, Work]:
    """What each notebook takes beside its stages."""
    own = {name: Work(seconds=seconds) for name, seconds in NOTEBOOKS.items()}
    own["02_sft"] += Work(sampled=SHOWN_ANSWERS * _answer_tokens(profile), seconds=2 * AGAIN)
    return own


def _answer_tokens(profile: Profile) -> float:
    return min(profile.sampling.max_new_tokens, lengths_of(profile).answer)


def _passes(rows: float, tokens: float, head: float) -> Work:
    """Forward passes over rows, with their log-probabilities."""
    return Work(read=rows * tokens, read_heads=rows * tokens * head)


def _trained(rows: float, tokens: float, head: float, settings: TrainingSettings) -> Work:
    """Forward and backward passes; frozen weights have no gradient, recomputation costs more."""
    share = (4 if settings.lora_rank else 6) / 6 + 2 / 6 * settings.activation_checkpointing
    return Work(trained=rows * tokens * share, trained_heads=rows * tokens * head * share,
                updates=ceil(rows / settings.batch_size), seconds=2 * AGAIN)


def evaluations(rows: float, settings: TrainingSettings) -> int:
    """How often a stage evaluates: before, every few steps, and at the end."""
    steps, every = ceil(rows / settings.batch_size), settings.evaluate_every
    return 1 + ceil(steps / every) if every else 2


def validation_rows(profile: Profile, rows: int) -> float:
    """Validation rows beside so many training rows."""
    share = profile.data.validation_share
    return rows * share / (1 - share)


def _sft(profile: Profile, lengths: Lengths) -> StageWork:
    rows, settings = requirements.training_rows(profile.data, "sft"), profile.sft
    seen = rows * settings.epochs
    held = _passes(validation_rows(profile, rows), lengths.sft, lengths.sft_head)
    return StageWork("sft", "02_sft", f"{seen * lengths.sft:,.0f} tokens",
                     _trained(seen, lengths.sft, lengths.sft_head, settings)
                     + held.times(evaluations(seen, settings)),
                     trained_parameters(shape_for(profile), settings))


def _heads_fit(profile: Profile) -> tuple[str, Work]:
    """The heads' fit; the sample's features of the packaged model are shipped (data/features)."""
    backbone = profile.rewards.backbone
    if backbone == "packaged":
        return "heads fitted on shipped features", Work(seconds=FIT)
    other = shape_of(backbone) or SHAPES["Qwen/Qwen2.5-0.5B"]
    own = shape_for(profile)
    relative = other.layers * other.layer_parameters / (own.layers * own.layer_parameters)
    return f"{SCORED_ANSWERS:,} answers read by {backbone} for the heads", Work(
        seconds=FIT, read=3 * DEPTH * SCORED_ANSWERS * 120 * relative)


def _dpo(profile: Profile, lengths: Lengths, own: bool) -> StageWork:
    rows = requirements.training_rows(profile.data, "one_a_prompt" if own else "pairs")
    settings, tokens = profile.dpo, lengths.lone_pair if own else lengths.pair
    seen, held = rows * settings.epochs, validation_rows(profile, rows)
    free = settings.loss in REFERENCE_FREE
    work = (_trained(seen, tokens, lengths.pair_head, settings)
            + _passes(0 if free else rows + held, tokens, lengths.pair_head)
            + _evaluation(profile, held, tokens, lengths).times(evaluations(seen, settings)))
    return StageWork("dpo", "03_dpo", f"{seen * tokens:,.0f} tokens, the reference once, and "
                     "answers to judge meanwhile", work,
                     trained_parameters(shape_for(profile), settings))


def _evaluation(profile: Profile, pairs: float, tokens: float, lengths: Lengths) -> Work:
    """One evaluation of DPO: validation pairs, and the probe's fresh answers with their scores."""
    probed = profile.evaluation.probe_prompts
    return _passes(pairs, tokens, lengths.pair_head) + (
        _answers(profile, probed, 1, 1) if probed else Work())


def _warning(profile: Profile, lengths: Lengths, own: bool) -> StageWork:
    """Four short runs; two kinds of pairs have a reference each, one answers at step 0 for all."""
    count, settings = profile.evaluation.warning_pairs, profile.warning
    rows = min(count, requirements.training_rows(profile.data,
                                                 "one_a_prompt" if own else "other_pairs"))
    seen, tokens = rows * settings.epochs, lengths.lone_pair
    held = validation_rows(profile, requirements.training_rows(
        profile.data, "one_a_prompt" if own else "other_pairs"))
    probe = _evaluation(profile, 0, tokens, lengths)
    work = (_trained(seen, tokens, lengths.pair_head, settings).times(4)
            + _passes(2 * (rows + held), tokens, lengths.pair_head)
            + _passes(held, tokens, lengths.pair_head).times(4 * evaluations(seen, settings))
            + probe.times(4 * (evaluations(seen, settings) - 1) + 1))
    return StageWork("warning", "03_dpo", f"4 runs on {count} pairs each", work,
                     trained_parameters(shape_for(profile), settings))


def _pools(name: str, profile: Profile, pools: list[Pool], text: str) -> StageWork:
    works = [_answers(profile, pool.answers, pool.samples, 2) for pool in pools]
    answers = sum(pool.answers for pool in pools)
    models = len({pool.policy for pool in pools}) + 1  # and the backbone of the reward models
    return StageWork(name, "04_best_of_n", f"{answers:,} answers {text}",
                     sum(works, Work(seconds=models * AGAIN)))


def _answers(profile: Profile, answers: float, samples: int, judges: int) -> Work:
    """Answers sampled, so many to a prompt, and scored by the judge or by both reward models."""
    prompts, server = answers / samples, profile.sampling.server is not None
    sampled = Work() if server else Work(sampled=answers * _answer_tokens(profile),
                                         read=prompts * lengths_of(profile).prompt)
    return sampled + _scoring(profile, answers, samples, judges)


def _scoring(profile: Profile, answers: float, samples: int, judges: int = 2) -> Work:
    """The views of each answer that embedded reward models read; a classifier reads one, whole.

    The selector reads the conversation and the conversation turned, the judge the conversation and
    the conversation after the reference. A prompt is read once for all its answers, but not where
    the conversation is turned.
    """
    lengths, scoring = lengths_of(profile), profile.rewards.scoring
    prompt, answer = lengths.prompt / samples, _answer_tokens(profile)
    seen, turned = prompt + answer, lengths.prompt + answer + 20
    shown = (lengths.prompt + lengths.reference + 20) / samples + answer
    roles = {"selector": scoring.selector, "judge": scoring.judge}
    names = list(roles.values())[2 - judges:]
    tokens = 0.0
    if "embedded" in names:
        tokens += DEPTH * (seen + shown * (scoring.judge == "embedded")
                           + turned * (judges == 2 and scoring.selector == "embedded"))
    tokens += sum(lengths.prompt + answer for name in names
                  if name not in ("embedded", "nemotron", LLM))
    return Work(read=answers * tokens)


def _arm(profile: Profile, lengths: Lengths, name: str) -> Work:
    """One arm of notebook 06: answers to learn from, training with a reference, and its answers.

    The budget counts a pair's prompt in both answers; computed together they are fewer tokens.
    Trials at another rate, and a steered beta, measure KL on answers of their own.
    """
    beyond, computed = profile.beyond, lengths.lone_pair / (lengths.lone_pair + lengths.prompt)
    tokens, prompts, cost = (beyond.trained_tokens * computed, profile.evaluation.prompts,
                             ARMS[name].cost)
    trainings = TRIALS if cost == MATCHING else 1
    learns_from = beyond.prompts if cost == SAMPLES else 0
    measured = beyond.kl_prompts * (1 + trainings * (cost == MATCHING)) + (
        (1 + PROBES) * profile.evaluation.probe_prompts * (cost == STEERED))
    training = _trained(tokens / lengths.lone_pair, lengths.lone_pair, lengths.pair_head,
                        profile.dpo) + _passes(1, tokens, lengths.pair_head)
    return (training.times(trainings)
            + _answers(profile, learns_from * beyond.samples, beyond.samples, 1)
            + _answers(profile, prompts * beyond.candidates, beyond.candidates, 2)
            + Work(sampled=measured * _answer_tokens(profile))
            + _compared(profile, lengths, measured))


def _compared(profile: Profile, lengths: Lengths, answers: float) -> Work:
    """Two policies' whole distributions at every token of the answers."""
    answer = _answer_tokens(profile)
    return Work(read=2 * answers * (lengths.prompt + answer),
                read_heads=2 * DISTRIBUTION_HEADS * answers * answer)


def _movement(profile: Profile, lengths: Lengths) -> Work:
    """Validation text and choices by three policies; DPO's answers by two, all words compared."""
    rows = validation_rows(profile, requirements.training_rows(profile.data, "sft"))
    evaluation = profile.evaluation
    general = (_passes(rows, lengths.sft, lengths.sft_head)
               + _passes(min(CHOICES, rows), lengths.prompt + OPENINGS, OPENINGS
                         / (lengths.prompt + OPENINGS))).times(3)
    compared = evaluation.prompts + (evaluation.temperature_prompts
                                     if len(evaluation.temperatures) > 1 else evaluation.prompts)
    return general + _compared(profile, lengths, compared) + Work(seconds=5 * AGAIN)
