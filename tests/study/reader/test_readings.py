"""A reader's scores are taken whole and checked, and stand beside the texts that were read."""

import json
from pathlib import Path

import pytest

from lib.runtime.files import FileError, Row, read_json, read_jsonl, write_json
from lib.study.reader.__main__ import main
from lib.study.reader.agreement import reliability_rows
from lib.study.reader.batches import export_batches
from lib.study.reader.questions import key_of
from lib.study.reader.readings import import_scores, read_readings, scores_hash, with_readings
from lib.study.reader.ship import ship_readings
from tests.study.reader.reader_runs import SHARED, answer_of, filled, keys, reader_run, score_of


@pytest.fixture
def run(run: Path) -> Path:
    export_batches(run, size=30, twice=10)
    return run


def lines(path: Path, *rows: Row) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def everything(run: Path, tmp_path: Path) -> list[Path]:
    return [filled(run, "batch_01", "Ada", tmp_path / "a.jsonl"),
            filled(run, "batch_02", "Ada", tmp_path / "b.jsonl"),
            filled(run, "second_01", "Bob", tmp_path / "c.jsonl")]


def test_a_whole_reading_comes_back_beside_its_texts(run: Path, tmp_path: Path) -> None:
    found = import_scores(run, everything(run, tmp_path), "model")
    rows = read_jsonl(run / "reader" / "scores.jsonl")
    assert found["read"] == found["answers"] == len({row["key"] for row in rows}) == 56
    assert found["missing"] == 0
    assert {row["reader"] for row in rows} == {"Ada", "Bob"}
    shared = next(row for row in rows if row["text"] == SHARED)
    assert shared["key"] == key_of(shared["id"], SHARED)
    assert shared["score"] == score_of(shared["key"])
    assert shared["text_sha256"]


def test_who_read_stands_beside_the_scores(run: Path, tmp_path: Path) -> None:
    *first, second = everything(run, tmp_path)
    import_scores(run, first, "model", partial=True)
    import_scores(run, [second], "person", blind=False)
    ada, bob = read_json(run / "reader" / "provenance.json")["readers"]
    plan = read_json(run / "reader" / "export.json")
    assert (ada["reader"], ada["kind"], ada["blind"], ada["n"]) == ("Ada", "model", True, 56)
    assert (bob["reader"], bob["kind"], bob["blind"]) == ("Bob", "person", False)
    assert bob["n"] == len(plan["batches"]["second_01"])
    assert ada["rubric_sha256"] == plan["rubric_sha256"]
    assert [file["name"] for file in ada["files"]] == ["a.jsonl", "b.jsonl"]


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl"])
def test_scores_are_read_in_three_forms(run: Path, tmp_path: Path, kind: str) -> None:
    key, other = keys(run, "batch_01")[:2]
    rows = [{"key": key, "score": 2.5, "reader": "Ada", "flaws": ["vague", "says \u2028 this"]},
            {"key": other, "score": 1, "reader": "Ada"}]
    path = tmp_path / f"scores.{kind}"
    path.write_text({
        "csv": f'\ufeffkey,answer,score,reader,flaws\n{key},1 A,2.5,Ada,"vague; says \u2028 this"\n'
               f"{other},1 B,1,Ada,\n{keys(run, 'batch_01')[2]},1 C,,,\n",
        "json": json.dumps(rows, ensure_ascii=False),
        "jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)}[kind],
        encoding="utf-8")
    import_scores(run, [path], "person", partial=True)
    one, two = read_readings(run)
    assert (one.key, one.score, one.flaws) == (key, 2.5, ("vague", "says \u2028 this"))
    assert (two.key, two.score, two.flaws) == (other, 1.0, ())


@pytest.mark.parametrize(("row", "words"), [
    ({"key": "0123456789ab", "score": 3}, "0123456789ab is no key of an answer"),
    ({"score": 3}, "is no key of an answer"),
    ({"score": 0.5}, "is 0.5; use 1 to 10 in steps of 0.5"),
    ({"score": 10.5}, "is 10.5; use 1 to 10"),
    ({"score": 2.25}, "is 2.25; use 1 to 10"),
    ({"score": True}, "is True; use 1 to 10"),
    ({"score": "good"}, "is 'good'; use 1 to 10"),
    ({"score": float("nan")}, "is nan; use 1 to 10"),
    ({"score": [2]}, r"is \[2\]; use 1 to 10"),
    ({"reader": " "}, "has no reader")])
def test_what_is_no_reading_is_refused_in_one_sentence_and_nothing_is_taken(
        run: Path, tmp_path: Path, row: Row, words: str) -> None:
    key = keys(run, "batch_01")[0] if row != {"score": 3} else "A"
    good = {"key": keys(run, "batch_01")[1], "score": 2, "reader": "Ada"}
    path = lines(tmp_path / "x.jsonl", good, {"key": key, "score": 3, "reader": "Ada"} | row)
    with pytest.raises(FileError, match=words) as error:
        import_scores(run, [path], "person", partial=True)
    assert "\n" not in str(error.value)
    assert read_readings(run) == []


def test_a_file_without_keys_and_scores_is_refused_rather_than_taken_as_unread(
        run: Path, tmp_path: Path) -> None:
    path = tmp_path / "semicolons.csv"
    path.write_text(f"key;score;reader\n{keys(run, 'batch_01')[0]};3;Ada\n")
    with pytest.raises(FileError, match="expected key, score and reader on every line"):
        import_scores(run, [path], "person", partial=True)
    with pytest.raises(FileError, match="line 1: not valid JSON"):
        import_scores(run, [lines(tmp_path / "x.jsonl").rename(tmp_path / "y.json")], "person")


@pytest.mark.parametrize(("name", "content", "words"), [
    ("a.csv", "key,score,reader\nabc,3,Zo\u00eb\n".encode("latin-1"), "cannot read .*a.csv: "),
    ("none.csv", None, "cannot read .*none.csv: .*No such file"),
    ("a.json", b'{"key": "abc", "score": 3}', "holds no list of objects; write"),
    ("a.json", b"[3]", "holds no list of objects; write"),
    ("a.json", b"", "line 1: not valid JSON"), ("a.jsonl", b"3\n", "a.jsonl, line 1")])
def test_a_file_that_holds_no_readings_is_refused_in_one_sentence(
        name: str, content: bytes | None, words: str, run: Path, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=words) as error:
        import_scores(run, [tmp_path / name], "person", partial=True)
    assert "\n" not in str(error.value)
    assert read_readings(run) == []


def test_one_reader_cannot_give_an_answer_two_scores(run: Path, tmp_path: Path) -> None:
    key = keys(run, "batch_01")[0]
    row = {"key": key, "score": 2, "reader": "Ada"}
    same = lines(tmp_path / "same.jsonl", row, row, row | {"reader": "Bob", "score": 9})
    import_scores(run, [same], "person", partial=True)
    assert [(each.reader, each.score) for each in read_readings(run)] == [("Ada", 2), ("Bob", 9)]
    later = lines(tmp_path / "later.jsonl", row | {"score": 2.5})
    with pytest.raises(FileError, match=f"Ada scores answer {key} twice, 2 and 2.5; .* "
                                        "leave second_. batches to another reader"):
        import_scores(run, [later], "person", partial=True)
    assert [(each.reader, each.score) for each in read_readings(run)] == [("Ada", 2), ("Bob", 9)]


def test_a_gap_is_named_and_refused_unless_the_reading_is_said_to_be_partial(
        run: Path, tmp_path: Path) -> None:
    first, second, _ = everything(run, tmp_path)
    kept = first.read_text().splitlines(keepends=True)
    first.write_text("".join(kept[:-1]))
    gap = json.loads(kept[-1])["key"]
    twice = len(keys(run, "second_01"))
    with pytest.raises(FileError, match=rf"batch_01 lacks 1 \({gap}\); second_01 lacks {twice} "):
        import_scores(run, [first, second], "person")
    assert read_readings(run) == []
    found = import_scores(run, [first, second], "person", partial=True)
    assert (found["read"], found["missing"]) == (55, 1 + twice)


def test_the_same_reader_is_no_second_reader(run: Path, tmp_path: Path) -> None:
    files = everything(run, tmp_path)
    filled(run, "second_01", "Ada", files[2])
    with pytest.raises(FileError, match="^second_01 lacks"):
        import_scores(run, files, "person")


def test_readings_survive_a_change_of_systems(run: Path, tmp_path: Path) -> None:
    import_scores(run, everything(run, tmp_path), "person")
    reader_run(run, answers={("dpo", "p4"): "Something else."})
    export_batches(run, twice=10)
    assert len(read_readings(run)) > 56
    found = import_scores(run, [lines(tmp_path / "old.jsonl", {
        "key": key_of("p4", answer_of("dpo", "p4")), "score": 3, "reader": "Cleo"})],
        "person", partial=True)
    assert found["read"] == 55


def test_an_answer_has_the_score_of_its_first_reader_and_none_if_unread(
        run: Path, tmp_path: Path) -> None:
    rows = read_jsonl(run / "responses" / "sft.jsonl")
    assert with_readings(run, rows) == rows  # no one has read: nothing is added
    key = key_of("p0", SHARED)
    path = lines(tmp_path / "x.jsonl", {"key": key, "score": 4.5, "reader": "Ada"},
                 {"key": key, "score": 2, "reader": "Bob"})
    import_scores(run, [path], "person", partial=True)
    read = with_readings(run, rows)
    scores = [[each["rewards"]["reader"] for each in row["candidates"]] for row in read]
    assert scores == [[None, 4.5]] + [[None, None]] * 11
    assert read[0]["candidates"][1]["rewards"] == {"selector": 0.25, "judge": -0.125, "reader": 4.5}
    assert rows[0]["candidates"][1]["rewards"] == {"selector": 0.25, "judge": -0.125}


def test_a_reading_changes_the_hash_that_the_tables_depend_on(run: Path, tmp_path: Path) -> None:
    assert scores_hash(run) == "absent"
    import_scores(run, everything(run, tmp_path)[:1], "person", partial=True)
    before = scores_hash(run)
    import_scores(run, everything(run, tmp_path), "person")
    assert len({"absent", before, scores_hash(run)}) == 3


def test_the_command_takes_scores_and_says_what_is_missing(
        run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files = list(map(str, everything(run, tmp_path)))
    assert main(["import", str(run), *files[:1], "--kind", "model"]) == 2
    assert "error: batch_02 lacks" in capsys.readouterr().err
    assert main(["import", str(run), *files, "--kind", "model"]) == 0
    said = capsys.readouterr()
    assert "56 of 56 answers are read" in said.out + said.err


def test_scores_before_an_export_are_refused(tmp_path: Path) -> None:
    run = reader_run(tmp_path / "run")
    with pytest.raises(FileError, match="has no batches; write them first"):
        import_scores(run, [tmp_path / "x.csv"], "person")


def test_two_readers_are_compared_on_what_both_read(
        run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["reliability", str(run)]) == 0
    assert "No answer has two readers" in capsys.readouterr().out
    import_scores(run, everything(run, tmp_path), "person")
    [row] = reliability_rows(run)
    assert (row["first"], row["second"]) == (["Ada"], ["Bob"])
    assert row["n"] == len(keys(run, "second_01"))
    assert row["within"] == row["same_order"] == 1
    assert main(["reliability", str(run)]) == 0
    assert "| Ada | Bob |" in capsys.readouterr().out


def test_a_recorded_runs_readings_ship_with_texts_systems_and_who_read(
        run: Path, tmp_path: Path) -> None:
    write_json(run / "responses" / "manifest.json", {"git": {"commit": "abc", "dirty": False}})
    first, *others = everything(run, tmp_path)
    import_scores(run, [first], "model", partial=True)
    with pytest.raises(FileError, match="was not read to the end"):
        ship_readings(run, tmp_path / "data")
    import_scores(run, others, "model")
    rows = read_jsonl(ship_readings(run, tmp_path / "data"))
    answers = [answer for row in rows for answer in row["answers"]]
    assert (len(rows), len(answers)) == (12, 56)
    shared = next(answer for answer in answers if answer["text"].strip() == SHARED)
    assert sorted(shared["systems"]) == ["sft", "sft+bon4@0.6"]
    assert shared["rewards"] == {"selector": 0.25, "judge": -0.125}
    assert sum(len(answer["readings"]) == 2 for answer in answers) == len(keys(run, "second_01"))
    about = read_json(tmp_path / "data" / "readings.json")
    assert (about["answers"], about["run"]["commit"]) == (56, "abc")
    assert [reader["reader"] for reader in about["readers"]] == ["Ada", "Bob"]


def test_shipped_readings_are_replaced_only_when_that_is_said(
        run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    write_json(run / "responses" / "manifest.json", {"git": {"commit": "abc", "dirty": False}})
    import_scores(run, everything(run, tmp_path), "model")
    path = ship_readings(run, tmp_path / "data")
    assert ship_readings(run, tmp_path / "data") == path, "the same readings again lose nothing"
    about = (tmp_path / "data" / "readings.json").read_bytes()
    path.write_text('{"id": "1", "answers": []}\n', encoding="utf-8")
    monkeypatch.setattr("lib.study.reader.ship.ship_readings.__defaults__", (tmp_path / "data",
                                                                             False))
    assert main(["ship", str(run)]) == 2
    said = capsys.readouterr().err
    assert "readings.jsonl holds other readings (56 answers, read by Ada, Bob); keep a copy" in said
    assert "ship with --replace" in said
    assert path.read_text(encoding="utf-8") == '{"id": "1", "answers": []}\n'
    assert (tmp_path / "data" / "readings.json").read_bytes() == about
    assert main(["ship", str(run), "--replace"]) == 0
    assert len(read_jsonl(path)) == 12


def test_an_answer_has_the_scores_of_all_readers_in_the_order_in_which_they_came(
        run: Path, tmp_path: Path) -> None:
    one, other = (key_of(prompt, SHARED) for prompt in ("p0", "p3"))
    rows = [("Ada", one, 4), ("Bob", other, 3), ("Ada", other, 2), ("Bob", one, 5)]
    import_scores(run, [lines(tmp_path / "x.jsonl", *(
        {"key": key, "score": score, "reader": name} for name, key, score in rows))],
        "person", partial=True)
    read = [row["candidates"][1] for row in with_readings(
        run, read_jsonl(run / "responses" / "sft.jsonl"))]
    assert [list(read[place]["readings"].items()) for place in (0, 3)] == [
        [("Ada", 4), ("Bob", 5)], [("Ada", 2), ("Bob", 3)]]
    assert [read[place]["rewards"]["reader"] for place in (0, 1, 3)] == [4, None, 2]
    assert read[1]["readings"] == {}


def test_answers_whose_second_reader_differs_are_not_ordered_against_each_other(
        run: Path, tmp_path: Path) -> None:
    three = [key_of("p1", answer_of(system, "p1")) for system in ("base", "sft", "dpo")]
    rows = [(key, score, "Ada") for key, score in zip(three, (2, 3, 4), strict=True)]
    rows += [(three[0], 6, "Bob"), (three[1], 7, "Bob"), (three[2], 1, "Cleo")]
    import_scores(run, [lines(tmp_path / "x.jsonl", *(
        {"key": key, "score": score, "reader": name} for key, score, name in rows))],
        "person", partial=True)
    [row] = reliability_rows(run)
    assert (row["n"], row["prompts"], row["pairs"], row["same_order"]) == (3, 1, 1, 1)
