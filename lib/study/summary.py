"""The last lines of a run: the main result in a sentence, what took how long, where to look."""

from collections.abc import Mapping, Sequence

from lib.analysis.tables.formatting import conclusion, format_rate
from lib.inference.judges.settings import LLM
from lib.inference.rewards import OWN_READER
from lib.runtime.files import Row, read_json, shown
from lib.runtime.progress import duration
from lib.study.policies import system_at_main
from lib.study.run import Study

PLACES = {"05_analysis.html": "every comparison, by every judge",
          "figures/compare.html": "the answers side by side, to read and to vote on",
          "results.json": "every number"}
READERS = (OWN_READER, LLM, "judge", "selector")  # whose verdict comes first, where there is one


def summary(study: Study, seconds: Mapping[str, float], planned: Mapping[str, float]) -> str:
    """A dozen lines; seconds and planned: by notebook, 0 or none for one that was skipped."""
    return "\n".join([*_main_result(study), *_times(study, seconds, planned), *_places(study)])


def _main_result(study: Study) -> list[str]:
    """DPO with Best-of-N against SFT: by the reader of the run's answers, or else by the judge."""
    path = study.path("results.json")
    results = read_json(path) if path.exists() else {}
    best = system_at_main(study.profile, "dpo").name
    found = {row["judge"]: row for row in _rows(results)
             if (row["a"], row["b"]) == (best, "sft") and row["n"]}
    said = [name for name in READERS if name in found]
    if not said:
        return []
    first = found[said[0]]
    lines = [f"main result: {best} against sft wins {format_rate(first)} of the comparisons by the "
             f"{said[0]} (n = {first['n']} prompts, 95 % interval): {conclusion(first)}"]
    if study.profile.model.name == "smoke":
        lines[0] += "; a random model, so it means nothing"
    return lines + [f"  by the {name}{', which chose the answers' * (name == 'selector')}: "
                    f"{format_rate(found[name])} (n = {found[name]['n']})" for name in said[1:]]


def _rows(results: Row) -> Sequence[Row]:
    return [*results.get("win_rates", ()), *results.get("llm_judge", {}).get("win_rates", ()),
            *(results.get("reader") or {}).get("same_answers", ())]


def _times(study: Study, seconds: Mapping[str, float],
           planned: Mapping[str, float]) -> list[str]:
    """What this command took, by notebook; what the stages took, whichever command made them."""
    made = {name: took for name, took in seconds.items() if took}
    total = f"done in {duration(sum(made.values()))}"
    if not made:
        return [f"{total}: every notebook was up to date"]
    parts = ", ".join(f"{name} {duration(took)}" + (
        f" (planned {duration(planned[name])})" if name in planned else "")
        for name, took in made.items())
    path = study.path("results.json")
    stages = sorted(read_json(path).get("timings", ()) if path.exists() else (),
                    key=lambda row: -row["seconds"])[:3]
    longest = ", ".join(f"{row['stage']} {duration(row['seconds'])}" for row in stages)
    return [f"{total}: {parts}", *([f"longest stages: {longest}"] if longest else [])]


def _places(study: Study) -> list[str]:
    there = {study.path(*name.split("/")): text for name, text in PLACES.items()}
    return ["open", *(f"  {shown(path)}: {text}" for path, text in there.items()
                      if path.exists()), f"  {shown(study.folder)}: the notebooks as they ran, and "
            "as pages"]
