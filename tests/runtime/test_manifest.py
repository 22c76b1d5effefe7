"""The manifest of a finished stage."""

from pathlib import Path

import pytest

from lib.runtime.files import FileError, write_json
from lib.runtime.manifest import manifest_of


def test_a_stage_that_has_not_finished_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"sft has no manifest.json, so its stage is not finished"):
        manifest_of(tmp_path / "sft")
    write_json(tmp_path / "manifest.json", {"seconds": 1.0})
    assert manifest_of(tmp_path) == {"seconds": 1.0}
