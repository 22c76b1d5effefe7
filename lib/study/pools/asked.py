"""A few prompts of your own, which every system answers: an illustration, without any rate.

The paper's appendix prints answers to four prompts whose texts are not part of this project. A file
of them, or of any others, is answered here as the held-out prompts are, with both scores.
"""

from collections.abc import Sequence

from lib.analysis.tables.formatting import shown_answer
from lib.data.settings import DataSettings
from lib.data.sources import load_heldout
from lib.inference.rewards import ROLES
from lib.inference.systems import BEST, System
from lib.runtime.files import Record, Row, read_jsonl, sha256_of_value
from lib.runtime.manifest import outputs_hash
from lib.runtime.places import typed_path
from lib.study.policies import POLICIES, picked_rows, picks_of
from lib.study.pools.pool import Pool, policy_key
from lib.study.pools.sampled import scored_pools
from lib.study.run import Study, StudyError, run_stage
from lib.study.stages.rewards import fit_rewards

MOST = 20  # prompts; more are no illustration


def answer_prompts(study: Study, path: str) -> list[Row]:
    """One row for each prompt of a file and each system: its answer and the scores of both roles.

    path: prompts in any layout that `data.heldout_path` takes. The answers stay in asked/ until the
    prompts or the policies change. Raises FileError, SchemaError, and StudyError for too many.
    """
    prompts = _prompts(path)
    fit_rewards(study, says=False)
    pools = asked_pools(study)
    folder = run_stage(
        study, "asked", {"model": study.profile.model, "rewards": study.profile.rewards.scoring,
                         "sampling": study.profile.sampling.in_force()},
        outputs=[f"pools/{pool.name}.jsonl" for pool in pools],
        work=lambda folder: list(scored_pools(study, list(pools), prompts, folder.name)),
        inputs={"prompts": sha256_of_value(prompts), "rewards": outputs_hash(study.path("rewards")),
                **{policy: policy_key(study, policy) for policy in POLICIES}})
    answers = {system: picked_rows(system, rows, picks_of(system, rows, study.profile.seed))
               for pool, systems in pools.items()
               for rows in [read_jsonl(pool.file(folder / "pools"))] for system in systems}
    return [_shown(system.name, rows[place], first=not number) for place in range(len(prompts))
            for number, (system, rows) in enumerate(answers.items())]


def asked_pools(study: Study) -> dict[Pool, list[System]]:
    """Every policy's pool at the main temperature, and the systems that answer from it.

    One candidate more than the N of Best-of-N, which is the policy's single answer.
    """
    main, n = study.profile.sampling.temperature, study.profile.sampling.samples
    single = {Pool("base", main, 1): [System("base")]}
    return single | {pool: [System(pool.policy), pool.picked_by(BEST, n)]
                     for pool in (Pool(policy, main, n + 1) for policy in ("sft", "dpo"))}


def _prompts(path: str) -> list[Row]:
    settings = DataSettings(source="local", heldout_path=str(typed_path(path)))
    rows: Sequence[Record] = load_heldout(settings)
    if len(rows) > MOST:
        raise StudyError(f"{path} has {len(rows)} prompts, and this is an illustration of at most "
                         f"{MOST}; for a comparison set data.heldout_path in a run of its own")
    return [{key: row[key] for key in ("id", "prompt", "source")} for row in rows]


def _shown(system: str, row: Row, first: bool) -> Row:
    """A line of the table, the prompt in its first one; scores compare within a prompt alone."""
    answer = row["candidates"][row["chosen"]]
    return {"prompt": row["prompt"] if first else "", "system": system,
            "answer": shown_answer(answer), **{role: answer["rewards"].get(role) for role in ROLES}}
