"""Run in a process of its own, because the libraries read the hub's address when imported.

`python hub_cases.py CASES.json`, with CASES a list of [settings of the paper profile, run folder],
writes what `check_access` said of each, and loads the first one's model.
"""

import json
import sys
from pathlib import Path

import huggingface_hub

from lib.modeling.loading import ModelError, load_model
from lib.study.planning.access import check_access
from lib.study.profiles import ProfileError
from lib.study.run import open_study

said, cases = [], json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
for settings, folder in cases:
    try:
        check_access(open_study("paper", folder, settings))
        said.append("")
    except ProfileError as error:
        said.append(str(error))
Path(sys.argv[1]).with_suffix(".said.json").write_text(json.dumps(said), encoding="utf-8")

huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 4096  # of a small file too there is a part to keep
name, revision = cases[0][0]["model.name"], cases[0][0]["model.revision"]
try:
    load_model(name, revision=revision)
except ModelError:  # the connection broke off; a second start goes on
    load_model(name, revision=revision)
