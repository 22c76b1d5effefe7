"""compare.html: one file that loads nothing, whatever the answers hold."""

import base64
import gzip
import hashlib
import json
import re
from html import unescape
from pathlib import Path

import pytest

from lib.viewers.page import page_html as around
from lib.viewers.page import show_page, write_page
from lib.viewers.page_data import page_data
from lib.viewers.rows import Collection, ViewerError, join
from tests.viewers.viewer_rows import (
    candidate,
    hostile_systems,
    many_systems,
    response,
    small_systems,
)


def page_html(collection: Collection, title: str = "Compare", **opened: str) -> str:
    return around(page_data(collection, **opened), title)


def element(page: str, opening: str, tag: str = "script") -> str:
    return re.search(f"{re.escape(opening)}(.*?)</{tag}>", page, re.DOTALL)[1]


def data_of(page: str) -> dict:
    if 'type="application/gzip"' in page:
        packed = element(page, '<script type="application/gzip" id="data">')
        return json.loads(gzip.decompress(base64.b64decode(packed)))
    return json.loads(element(page, '<script type="application/json" id="data">'))


@pytest.fixture(scope="module")
def hostile_page() -> str:
    return page_html(join(hostile_systems(), judges=["judge"]), "A </title><script>bad()</script>")


def test_the_page_loads_nothing(hostile_page: str) -> None:
    outside_data = hostile_page.replace(element(hostile_page, 'id="data">'), "")
    assert not re.search(r"<(script|link|img|iframe|object|embed)[^>]*\s(src|href|data)=",
                         outside_data)
    assert not re.search(r"@import|url\(", outside_data)
    urls = set(re.findall(r"https?://[^\s\"'<>]+", outside_data))
    assert urls == {"http://www.w3.org/2000/svg"}  # a name, not an address to load


def test_answers_cannot_end_the_data_element(hostile_page: str) -> None:
    assert len(re.findall("<script", hostile_page)) == 2
    assert len(re.findall("</script>", hostile_page)) == 2
    assert not re.search("[<>&\u2028\u2029]", element(hostile_page, 'id="data">'))


def test_the_title_is_escaped(hostile_page: str) -> None:
    assert "<title>A &lt;/title&gt;&lt;script&gt;bad()&lt;/script&gt;</title>" in hostile_page


def test_ids_make_the_round_trip_unchanged(hostile_page: str) -> None:
    ids = [row["id"] for row in hostile_systems()["plain"]]
    assert [prompt[0] for prompt in data_of(hostile_page)["prompts"]] == ids


def test_the_policy_allows_exactly_the_two_inline_blocks(hostile_page: str) -> None:
    policy = unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', hostile_page)[1])
    script, style = element(hostile_page, "<script>"), element(hostile_page, "<style>", "style")
    for name, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_the_page_opens_on_the_wanted_systems_and_refuses_others() -> None:
    collection = join(small_systems())
    assert '"opened":{"a":"dpo","b":"sft",' in page_html(collection)
    assert '"opened":{"a":"sft","b":"dpo",' in page_html(collection, a="sft", b="dpo")
    assert '"opened":{"a":"sft","b":"sft+bon2@0.6",' in page_html(collection, a="sft")
    with pytest.raises(ViewerError, match="'nobody' has no responses; choose from sft"):
        page_html(collection, a="nobody")
    with pytest.raises(ViewerError, match="dpo is compared with itself"):
        page_html(collection, a="dpo", b="dpo")


def test_names_are_parsed_before_they_reach_the_page() -> None:
    systems = small_systems() | {"of another+origin": small_systems()["dpo"]}
    assert data_of(page_html(join(systems)))["systems"] == [
        ["sft", "sft", None, 1, None], ["sft+bon2@0.6", "sft", "bon", 2, 0.6],
        ["sft+random2@0.6", "sft", "random", 2, 0.6], ["dpo", "dpo", None, 1, None],
        ["of another+origin", "of another+origin", None, 1, None]]


def test_one_system_has_candidates_and_nothing_to_compare() -> None:
    data = data_of(page_html(join({"sft": small_systems()["sft"]})))
    assert (data["modes"], data["opened"]["mode"]) == (["candidates"], "candidates")


def test_a_reader_of_some_answers_leaves_the_curves_of_the_others() -> None:
    pool = [candidate("One.", judge=1.0, selector=0.0, reader=2.5),
            candidate("Two.", judge=2.0, selector=1.0, reader=None)]
    data = data_of(page_html(join({"sft+bon2@0.6": [response("p0", pool, 1)]},
                                  judges=["judge", "reader"])))
    assert data["models"] == ["judge", "reader", "selector"]
    [[_, _, _, _, [[answers, _, _, curve]]]] = data["prompts"]
    assert [answer[3] for answer in answers] == [[1.0, 2.5, 0.0], [2.0, None, 1.0]]
    assert curve == [[1.5, 2.0], None, [0.5, 1.0]]


def test_a_pool_is_carried_once_however_many_systems_chose_from_it() -> None:
    page = page_html(join(small_systems(), judges=["judge"]))
    assert page.count("Blue it is.") == 1


def test_two_hundred_prompts_of_six_systems_stay_under_five_megabytes(tmp_path: Path) -> None:
    pool = [candidate(f"{'a longer word or two ' * 90}{place}", 500, judge=1.0, selector=place / 10)
            for place in range(4)]
    names = ("base", "sft", "sft+bon4@0.6", "sft+random4@0.6", "dpo", "dpo+bon4@0.6")
    systems = {
        name: [response(f"p{i}", [row | {"text": f"{name[:3]} {i} {row['text']}"} for row in pool],
                        place % 4) for i in range(200)]
        for place, name in enumerate(names)
    }
    path = write_page(systems, tmp_path / "compare.html", judges=["judge"])
    assert path.stat().st_size < 5_000_000


def test_large_data_are_zipped_and_read_back_the_same() -> None:
    page = page_html(join(many_systems(300, 8, words=150)))
    assert 'type="application/gzip"' in page
    assert len(data_of(page)["prompts"]) == 300


def test_the_same_rows_give_the_same_page() -> None:
    assert page_html(join(small_systems())) == page_html(join(small_systems()))


def test_a_shown_page_stands_in_a_sandboxed_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    monkeypatch.setattr("lib.viewers.page.display", shown.append)
    show_page(write_page(hostile_systems(), tmp_path / "compare.html"))
    html = shown[0].data
    assert "allow-same-origin" not in html
    inner = unescape(re.search(r'srcdoc="([^"]*)"', html)[1])
    assert inner == (tmp_path / "compare.html").read_text(encoding="utf-8")
