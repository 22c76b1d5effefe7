"""What a blind reader says of the arms: the readings where there are some, else a forecast.

`python -m lib.study.reader export RUN --arms` asks a reader about them. The forecast rests on the
comparisons that were read, of this run or of the audit (`lib.analysis.judges.forecast`).
"""

from collections.abc import Mapping, Sequence

from lib.analysis.judges.audit import READER
from lib.analysis.judges.forecast import forecast, reader_line
from lib.analysis.judges.same_answers import same_answers
from lib.inference.rewards import OWN_READER
from lib.runtime.files import Row, read_json
from lib.study.policies import load_systems
from lib.study.reader.questions import prompts_read, single_answers
from lib.study.reader.readings import arms_asked, scores_of, with_scores
from lib.study.run import Study


def read_arms(study: Study, answers: Mapping[str, Sequence[Row]]) -> list[Row]:
    """Rows of `same_answers`, each arm over SFT, of the arms that a reader was asked about.

    A prompt counts by the first reader who read both answers, and is missing without one.
    Only the prompts that were asked count: on others an arm has a score where its answer happens
    to be one that was read, which is no random part.
    """
    asked = {name: count for name, count in arms_asked(study.folder).items() if name in answers}
    if not asked or not (scores := scores_of(study.folder)):
        return []
    systems = {"sft": load_systems(study)["sft"]}
    for name, count in asked.items():
        prompts = {row["id"] for row in prompts_read(study.folder, count)}
        systems[name] = with_scores(single_answers(
            [row for row in answers[name] if row["id"] in prompts]), scores)
    return same_answers(systems, ["judge"], OWN_READER, [(name, "sft") for name in asked])


def reader_of_arms(study: Study, verdicts: Sequence[Row], read: Sequence[Row]) -> Row:
    """What the reader says, or would say, of each arm over SFT.

    verdicts: win rates of the arms over SFT by the judge; read: of `read_arms`. {"answers" (whose
    the line is of), "line" (of the study's comparisons and of all read arms), "rows": {"arm",
    "forecast", "low", "high", "read", "read_low", "read_high", "n", "ties"} each}; an arm's
    forecast uses no reading of it.
    """
    known, whose = _read_comparisons(study)
    own = {row["a"]: row for row in read if row["judge"] == OWN_READER}
    rows = []
    for row in verdicts:
        others = [one for one in read if one["a"] != row["a"]]
        mine = own.get(row["a"], {})
        rows.append({
            "arm": row["a"],
            **forecast(reader_line([*known, *others], OWN_READER), row["win_rate"]),
            "read": mine.get("win_rate"), "read_low": mine.get("ci_low"),
            "read_high": mine.get("ci_high"), "n": mine.get("n"), "ties": mine.get("ties")})
    return {"answers": whose, "line": reader_line([*known, *read], OWN_READER), "rows": rows}


def _read_comparisons(study: Study) -> tuple[list[Row], str]:
    """The study's comparisons that a reader and the judges have seen, and whose answers they are.

    Any reader is named as the run's own.
    """
    path = study.path("results", "results.json")
    results = read_json(path) if path.exists() else {}
    if results.get("reader"):
        return results["reader"]["same_answers"], "this run's answers"
    rows = results.get("audit", {}).get("same_answers", [])
    return [row | {"judge": OWN_READER} if row["judge"] == READER else row
            for row in rows], "earlier answers"
