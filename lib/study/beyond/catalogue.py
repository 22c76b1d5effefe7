"""The table of arms: one line each for its idea, formula, source and cost, and its function.

A function takes an `lib.study.beyond.arm.ArmRun` and returns the folder of its trained model.
Modules are imported when an arm runs, so that the table itself costs nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from lib.runtime.files import Row
from lib.study.beyond.names import full_name
from lib.study.run import StudyError

# Costs beside one training on the budget's tokens; an arm that samples has the budget's answers
OFFLINE, SAMPLES = "–", "answers"
MATCHING, STEERED = "up to three trainings", "validation answers"
LOSS, DATA, OWN = "losses on fixed pairs", "choice of fixed pairs", "answers of its own"
FEW, CHECK = "few parameters", "controls and checks"  # a check is no method to choose
GROUPS = (LOSS, DATA, OWN, FEW, CHECK)


@dataclass(frozen=True)
class Arm:
    """One method. function: `module:name`, called with the run and `options`; group: of `GROUPS`.

    control: the arm that differs in nothing but the idea (the same number of pairs at random), so
    that the idea's gain is measured against it and not against another amount of data.
    """

    name: str
    group: str
    idea: str
    formula: str
    source: str
    cost: str
    function: str
    options: tuple[tuple[str, object], ...] = ()
    control: str = ""

    def train(self, run: object) -> Path:
        """Call the arm's function; see the module's docstring."""
        return self.call()(run, **dict(self.options))

    def call(self) -> Callable[..., Path]:
        """The arm's function, whose source notebook 06 shows."""
        return resolve_name(self.function)


HERE = "lib.study.beyond"
FAMILY = {  # losses on fixed pairs: idea, formula of h and d as in lib.training.losses, source
    "cdpo": ("assumes that some labels are flipped, so that no pair is pushed without end",
             "(1 - e) L(d) + e L(-d)", "Mitchell 2023, eq. 3"),
    "robust": ("the loss of clean labels in expectation, under flipped ones",
               "((1 - e) L(d) - e L(-d)) / (1 - 2 e)", "Chowdhury et al. 2024"),
    "ipo": ("moves every pair equally far apart, and no further",
            "(d - 1 / (2 beta))^2", "Azar et al. 2023, eq. 17"),
    "ipo_per_token": ("IPO on log-ratios a token, as TRL computes it",
                      "(h_w / |w| - h_l / |l| - 1 / (2 beta))^2", "Azar et al. 2023; TRL"),
    "length_normalised": ("compares log-ratios a token, so that length is no way to win",
                          "-log sigmoid(beta (h_w / |w| - h_l / |l|))", "Tulu 3, sec. 4.3"),
    "simpo": ("mean log-probabilities a token, with a lead and without a reference",
              "-log sigmoid(beta (mean logp chosen - mean logp rejected) - gamma)",
              "Meng et al. 2024, sec. 3"),
    "odpo": ("pairs far apart in score have to move further",
             "-log sigmoid(beta d - alpha log(score gap))", "Amini et al. 2024"),
    "cal_dpo": ("keeps each answer's reward on a scale, so that chosen ones do not fall",
                "-log sigmoid(d) + c ((h_w - t)^2 + (h_l + t)^2), t = 1 / (2 beta)",
                "Xiao et al. 2024"),
    "beta_dpo": ("beta follows each batch, and its outliers are left out",
                 "beta (1 + a (mean d - M))", "Wu et al. 2024"),
    "dpo_sft": ("DPO with SFT on the chosen answers, so that they stay likely",
                "-log sigmoid(beta d) - lambda logp(chosen) / |w|", "Pang et al. 2024")}
MATCHED = ("ipo", "odpo", "simpo", "robust")  # compared at equal movement too
CHOSEN = {  # choices of pairs: idea, formula, source, cost
    "margin": ("the half of the pairs whose scores differ most", "gap >= median gap",
               "a margin filter", OFFLINE),
    "fdpo": ("pairs whose chosen answer beats the model's own", "score(own) < score(chosen)",
             "Morimura et al. 2024", SAMPLES),
    "clusters": ("half of the pairs, equally many of each kind of prompt",
                 "k-means of mean hidden states, equal quotas", "the paper's future work",
                 OFFLINE)}
ORDERS = {"curriculum": ("score_gap", "easy pairs first, by the gap of their scores"),
          "curriculum_reference": ("reference_gap",
                                   "easy pairs first, by the SFT model's log-probabilities")}
NOISY, SHARES = ("dpo", "cdpo", "robust"), (10, 20)  # losses on flipped labels, and how many in 100
ARMS: dict[str, Arm] = {arm.name: arm for arm in (
    Arm("offline_dpo", LOSS, "the study's own loss on fixed pairs of these prompts",
        "-log sigmoid(beta d)", "Rafailov et al. 2023, eq. 7", OFFLINE,
        f"{HERE}.offline:preference_loss", (("loss", "dpo"),)),
    *(Arm(f"{loss}_matched", LOSS,
          f"{loss} at the learning rate that moves it as far as offline_dpo",
          formula, source, MATCHING,
          f"{HERE}.matched:equal_movement", (("loss", loss),), "offline_dpo")
      for loss, (_, formula, source) in FAMILY.items() if loss in MATCHED),
    *(Arm(loss, LOSS, *line, OFFLINE, f"{HERE}.offline:preference_loss", (("loss", loss),),
          "offline_dpo")
      for loss, line in FAMILY.items()),
    *(Arm(f"{choice}{end}", CHECK if end else DATA, f"{idea}{end and ': as many at random'}",
          formula, source, cost, f"{HERE}.offline:chosen_pairs",
          (("choice", choice), ("by_chance", bool(end))), "" if end else f"{choice}_random")
      for choice, (idea, formula, source, cost) in CHOSEN.items() for end in ("", "_random")),
    *(Arm(name, DATA, idea, f"order by {by}", "the paper's future work", OFFLINE,
          f"{HERE}.offline:curriculum", (("by", by),), "curriculum_random")
      for name, (by, idea) in ORDERS.items()),
    Arm("curriculum_random", CHECK, "the same pairs in one random order", "any order", "a control",
        OFFLINE, f"{HERE}.offline:curriculum", (("by", "chance"),)),
    Arm("adaptive_beta", LOSS, "beta is steered to half of offline_dpo's KL",
        "beta (1 + clip(KL / target - 1) n / horizon)", "Ziegler et al. 2019, sec. 2.2",
        STEERED, f"{HERE}.offline:adaptive_beta", (), "offline_dpo"),
    *(Arm(f"{loss}_flipped{share}", CHECK, f"{loss} with {share} % of the labels flipped",
          "chosen and rejected swapped", "a robustness curve", OFFLINE,
          f"{HERE}.offline:flipped_labels", (("loss", loss), ("share", share / 100)),
          "offline_dpo" if loss == "dpo" else f"dpo_flipped{share}")
      for loss in NOISY for share in SHARES),
    Arm("random_labels", CHECK, "half of the labels flipped, so that nothing can be learned",
        "chosen and rejected swapped in every second pair", "a control", OFFLINE,
        f"{HERE}.offline:flipped_labels", (("loss", "dpo"), ("share", 0.5))),
    Arm("online_dpo", OWN, "two rounds: its best answer against its worst by the selector, and DPO",
        "-log sigmoid(beta d) on answers of pi_t, reference pi_t",
        "Guo et al. 2024, with one reference", SAMPLES, f"{HERE}.online:online_dpo",
        (("rounds", 2),), "offline_dpo"),
    Arm("dice", OWN, "DPO ranks its own answers by what it gained itself, without a reward model",
        "log(pi_t / pi_(t-1)) - alpha length; half of the pairs are the fixed ones again",
        "Chen et al. 2024", SAMPLES, f"{HERE}.online:dice", (("replay", 0.5),), "offline_dpo"),
    Arm("raft", OWN, "two rounds of SFT on the best of each prompt's answers",
        "-log pi(best of N)", "Dong et al. 2023", SAMPLES, f"{HERE}.online:raft",
        (("rounds", 2), ("picked", "best")), "raft_random"),
    Arm("raft_random", CHECK, "raft on a random one of each prompt's answers",
        "-log pi(one of N)", "a control", SAMPLES, f"{HERE}.online:raft",
        (("rounds", 2), ("picked", "random"))),
    Arm("bonbon", OWN, "SFT on the best answer, and the best-worst gap that Best-of-N has",
        "a (-log pi(best)) + (1 - a) (d - (N - 1) H_(N-1))^2", "Gui et al. 2024", SAMPLES,
        f"{HERE}.online:bonbon"),
    Arm("bond", OWN, "towards the law of Best-of-N: SFT on the best, policy gradient on quantiles",
        "(1 - b) KL(pi_N || pi) + b KL(pi || pi_N), by log p_le with KL weight 1 / (N - 1)",
        "Sessa et al. 2024, eq. 11-15", SAMPLES, f"{HERE}.online:bond", (("backward", 0.5),)),
    Arm("rloo", OWN, "two rounds of policy gradient, the second also on the first one's answers",
        "-min(rho A, clip(rho) A) a token, A = R - mean of the prompt's others",
        "Ahmadian et al. 2024", SAMPLES, f"{HERE}.online:rloo", (("rounds", 2),)),
    Arm("dpo_then_rloo", OWN, "DPO on fixed pairs, then policy gradient on its own answers",
        "L_DPO, then L_RLOO with SFT as the reference", "ours", SAMPLES,
        f"{HERE}.online:dpo_then_rloo", (), "offline_dpo"),
    Arm("dpo_plus_rloo", OWN, "both losses in one step, on fixed pairs and on answers of SFT",
        "L_DPO + lambda L_RLOO", "ours", SAMPLES, f"{HERE}.online:dpo_plus_rloo",
        (("policy_weight", 0.1),), "offline_dpo"),
    Arm("lora_dpo", FEW, "LoRA of rank 16 at the learning rate that moves it as far as offline_dpo",
        "W + (alpha / r) B A, W frozen", "Hu et al. 2021", MATCHING,
        f"{HERE}.adapters:lora_dpo", (), "offline_dpo"),
)}


def arm_named(name: str) -> Arm:
    """An arm by its full or short name; raises StudyError for one that is not known."""
    try:
        return ARMS[full_name(name)]
    except ValueError as error:
        raise StudyError(str(error)) from None


def catalogue_rows(names: Sequence[str] = tuple(ARMS)) -> list[Row]:
    """Rows of the table by group: {"arm", "group", "idea", "formula", "source", "cost",
    "control"}.
    """
    arms = sorted(map(ARMS.__getitem__, names), key=lambda arm: GROUPS.index(arm.group))
    return [{"arm": arm.name} | {key: getattr(arm, key) for key in (
        "group", "idea", "formula", "source", "cost", "control")} for arm in arms]
