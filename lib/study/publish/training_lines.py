"""The pages' lines on training: losses, reward accuracy, what it moved, and the warning's runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from lib.analysis import tables
from lib.analysis.tables.findings import accuracy_words, from_to, warning_findings
from lib.analysis.tables.formatting import format_number, interval


def training_lines(results: Mapping[str, Any]) -> str:
    """Validation loss of SFT, reward accuracy of DPO, and what the warning's four runs say."""
    sft, dpo = results["sft_eval"], results["dpo_eval"]
    lines = []
    if sft:  # conversations were set aside
        loss = " to ".join(format_number(sft[key], 3) for key in ("loss_before", "loss_after"))
        lines.append(f"- SFT: validation loss {loss} nats a token (n = {sft['n']} conversations).")
    if dpo.get("accuracy"):
        low, high = dpo["intervals"]["rewards/margins"]
        margin = {"mean": dpo["rewards/margins"], "low": low, "high": high}
        lines.append(f"- DPO: validation reward accuracy {accuracy_words(dpo['accuracy'])}, margin "
                     f"{interval(margin, 'mean', 'low', 'high', 3)}; {probe_words(dpo)}.")
    warning = results.get("warning") or {}
    return "\n".join(["**Training**, on validation prompts:", "", *lines,
                      *movement_lines(results["movement"]), *warning_lines(warning)])


def probe_words(found: Mapping[str, Any]) -> str:
    """The probe before and after training, with its intervals where the run kept them."""
    if not found["samples"]:
        return "no fresh answers were sampled"
    rows = found["samples"]
    return (f"judge's mean score of {rows[-1]['n']} fresh validation answers "
            f"{from_to(rows, 'judge_score')}, repeated 4-grams {from_to(rows, 'repetition', 3)}")


def warning_lines(warning: Mapping[str, Any]) -> list[str]:
    """The four short runs of notebook 03 and what they say; empty where there are none."""
    if not warning:
        return []
    return ["", "**Four short runs of notebook 03**, which differ in pairs and learning rate only:",
            "", tables.warning_table(warning["cells"]), "", warning_findings(warning)]


def movement_lines(movement: Mapping[str, Any]) -> list[str]:
    """The KL of DPO from SFT, and each policy's loss on ordinary answers."""
    kl, changes = movement["kl"], movement["retention"]
    steps = "; ".join(f"{row['policy']} {interval(row, 'loss', digits=3)}" + (
        "" if row["change"] is None else
        f", a change of {interval(row, 'change', 'change_low', 'change_high', 3)}")
        for row in changes)
    return [f"- KL of DPO from SFT over the whole vocabulary, on {kl['n']} of DPO's own answers at "
            f"T = {kl['temperature']:g}: {interval(kl, 'kl')} nats an answer.",
            *sampler_lines(movement.get("sampler_kl")),
            *([f"- Loss on the {changes[0]['n']} validation conversations on which SFT's learning "
               f"rate and epochs were chosen, nats a token: {steps}."] if changes else []),
            *choice_lines(movement.get("choices", []))]


def sampler_lines(kl: Mapping[str, Any] | None) -> list[str]:
    """KL between the samplers, which Best-of-N's bound compares with; empty for older runs."""
    return [f"- KL of DPO's sampler from SFT's (T = {kl['temperature']:g}, top-k {kl['top_k']}) on "
            f"{kl['n']} answers, over the tokens that both write: {interval(kl, 'kl')} nats an "
            f"answer. Of the answers {interval(kl, 'outside', 'outside_low', 'outside_high')} hold "
            "a token that only DPO's writes. Relative to the same sampler, "
            f"Best-of-{kl['best_of_n']} adds at most {format_number(kl['best_of_n_bound'])}."
            ] if kl else []


def choice_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How often each policy picks the true continuation; empty for older runs."""
    shown = "; ".join(f"{row['policy']} {interval(row, 'accuracy')}" for row in rows)
    return [f"- True continuation found among openings of other answers, {rows[0]['n']} "
            f"questions (guessing gets {format_number(rows[0]['chance'])}): {shown}; DPO's change "
            f"from SFT {interval(rows[-1], 'change', 'change_low', 'change_high')}."
            ] if rows else []
