"""Two thousand answers scored by a hostile reward API, and two thousand prompts answered by one.

    python -m tests.faults.hostile_apis --items 2000

Of a hundred items about 63 get a right reply at once and 27 after one to three troubles; the last
ten meet nothing but trouble. A score or an answer that is not the right one is a fault, and so is
an item that is neither right nor missing and counted, or a trace of the key.
"""

import argparse
import io
import math
import os
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

from lib.data.schema import is_missing
from lib.inference.api.server import sample_from_server
from lib.inference.api.transport import ServerSettings
from lib.inference.rewards.cache import ScoreCache, cached
from lib.inference.rewards.remote.nemotron import ApiSettings, NemotronRewardModel
from lib.inference.sampling_settings import SamplingSettings
from lib.runtime.files import Row, read_jsonl
from tests.faults.hostile_server import (
    KEY,
    Server,
    conversation,
    reward_server,
    sampling_server,
    serving,
    true_reward,
)

KEY_VARIABLE, HOPELESS = "STUDY_TEST_KEY", 10
QUICK = {"key_variable": KEY_VARIABLE, "timeout": 0.5, "attempts": 6, "backoff": 0.005,
         "calls_per_minute": 1e9, "concurrency": 8}
SAMPLING = SamplingSettings(samples=3, temperature=0.7, max_new_tokens=16)
Trial = Callable[[int, Path], tuple[Server, str, list[str]]]


def main() -> int:
    """Print what became of the items; the exit status is 1 after any fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=2000)
    options = parser.parse_args()
    return max([told(trial, options.items) for trial in (try_rewards, try_sampling)])


def told(trial: Trial, items: int) -> int:
    """Print the trial's numbers; 1 after any fault."""
    with tempfile.TemporaryDirectory() as folder:
        server, said, faults = trial(items, Path(folder))
    met = ", ".join(f"{count} {name}" for name, count in sorted(server.met.items()))
    print(f"{trial.__name__}: {items} items, {server.calls.total()} calls; {said}\n"
          f"  the server's ways: {met}\n  " + ("\n  ".join(faults) or "no fault"))
    return int(bool(faults))


def try_rewards(items: int, folder: Path) -> tuple[Server, str, list[str]]:
    """The server, what the client said of missing scores, and the faults."""
    os.environ |= {KEY_VARIABLE: KEY, "NO_PROXY": "127.0.0.1"}
    asked = [conversation(number) for number in range(items)]
    with serving(reward_server(hopeless=HOPELESS)) as server, redirect_stdout(io.StringIO()) as out:
        model = NemotronRewardModel(ApiSettings(base_url=server.url, **QUICK))
        scores = cached(model, ScoreCache(folder / "scores.sqlite")).score(asked)
    faults, missing = [], 0
    for (_, answer), score in zip(asked, scores, strict=True):
        lost = server.is_hopeless(answer["content"])
        missing += lost
        if score != (None if lost else true_reward(answer["content"])):
            faults.append(f"{answer['content']} has {score}")
    return server, *_counted(f"{missing} of {items} answers have no score", out.getvalue(), folder,
                             faults)


def try_sampling(items: int, folder: Path) -> tuple[Server, str, list[str]]:
    """The server, what the client said of missing answers, and the faults."""
    os.environ |= {KEY_VARIABLE: KEY, "NO_PROXY": "127.0.0.1"}
    prompts = [{"id": f"p{number}", "prompt": f"question {number}", "source": "test"}
               for number in range(items)]
    with serving(sampling_server(HOPELESS)) as server, redirect_stdout(io.StringIO()) as out:
        path = folder / "rows.jsonl"
        sample_from_server(prompts, SAMPLING, ServerSettings("tiny", server.url, **QUICK), path)
    rows = read_jsonl(path)
    faults = [] if [row["id"] for row in rows] == [prompt["id"] for prompt in prompts] else [
        "the rows are not those of the prompts, in their order"]
    faults += [f"{row['prompt']}: {wrong}" for row in rows if (wrong := wrong_in(row, server))]
    missing = SAMPLING.samples * sum(server.is_hopeless(row["prompt"]) for row in rows)
    return server, *_counted(f"{missing} of {SAMPLING.samples * items} answers are missing",
                             out.getvalue(), folder, faults)


def wrong_in(row: Row, server: Server) -> str:
    """What is wrong in a row of answers; empty if nothing is."""
    answers, form = row["candidates"], re.compile(rf"answer \d of seed \d+ to {row['prompt']}")
    if server.is_hopeless(row["prompt"]):
        return "" if all(is_missing(answer) for answer in answers) else "it has an answer"
    if len({answer["text"] for answer in answers}) < SAMPLING.samples:
        return "two answers are one"
    for answer in answers:
        if not form.fullmatch(answer["text"]):
            return f"the answer {answer['text']!r}"
        if answer["logprob"] is not None and not -math.inf < answer["logprob"] <= 0:
            return f"a log-probability of {answer['logprob']}"
        if answer["tokens"] is not None and answer["tokens"] != len(answer["text"].split()):
            return f"{answer['tokens']} tokens"
    return "" if row["prompt_tokens"] is None else f"{row['prompt_tokens']} tokens of the prompt"


def _counted(sentence: str, said: str, folder: Path,
             faults: list[str]) -> tuple[str, list[str]]:
    """The sentence, and the faults with those of what was said and written."""
    if sentence not in said:
        faults.append(f"it was not said that {sentence}, but {said.splitlines()[-1:]}")
    if KEY in said or any(KEY.encode() in file.read_bytes() for file in folder.iterdir()):
        faults.append("the key was said or written")
    return sentence, faults


if __name__ == "__main__":
    sys.exit(main())
