"""Figures outside their notebook: pages, pictures, and notebooks that are exported."""

import json
import os
from pathlib import Path

import nbformat
import plotly.io as pio
import pytest
from choreographer.channels import Pipe
from nbformat.v4 import new_code_cell, new_notebook, new_output

from lib.analysis import figures
from lib.analysis.figures import files
from lib.analysis.figures.files import MIME
from lib.study.notebooks import export_html
from tests.analysis.figures.test_figures import metrics


def test_a_saved_page_shares_plotly_and_needs_no_network(
        tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "browser_ready", lambda: False)
    [page] = figures.save_figure(figures.dpo_loss_figure(metrics()), tmp_path, "loss")
    text = page.read_text(encoding="utf-8")
    assert 'src="plotly.min.js"' in text
    assert '"showSendToCloud": false' in text  # no button that would upload a figure
    assert "https://" not in text.replace("https://plot.ly", "")
    assert (tmp_path / "plotly.min.js").exists()
    assert len(text) < 100_000


def test_a_machine_without_a_browser_says_so_once(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def no_browser(*_: object, **__: object) -> bytes:
        raise RuntimeError("Chrome not found\nlong advice")

    monkeypatch.setattr(files.kaleido, "calc_fig_sync", no_browser)
    files.browser_ready.cache_clear()
    assert not files.browser_ready()
    assert not files.browser_ready()
    assert capsys.readouterr().out.count("figures are saved as .html only") == 1
    files.browser_ready.cache_clear()


@pytest.mark.browser
def test_pictures_are_drawn_where_a_browser_is(tmp_path: object) -> None:
    if not files.browser_ready():
        pytest.skip("no browser draws pictures on this machine")
    paths = figures.save_figure(figures.sft_loss_figure(metrics()), tmp_path, "loss")
    assert [path.suffix for path in paths] == [".html", ".svg", ".png"]
    assert paths[1].read_text(encoding="utf-8").startswith("<svg")
    assert paths[2].read_bytes().startswith(b"\x89PNG")


def test_the_browsers_farewell_is_no_error_in_a_notebook(
        caplog: pytest.LogCaptureFixture) -> None:
    pipe = Pipe()
    pipe.open()
    os.write(pipe.from_external_to_choreo, b"{bye}\n\0")  # what its end writes, and a message's end
    assert pipe.read_jsons()[0] == []
    assert caplog.records == []
    pipe.close()


def test_plotly_keeps_the_renderer_it_chose_for_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr("lib.analysis.figures.theme.display", shown.append)
    monkeypatch.setattr(pio.renderers["plotly_mimetype"], "config", {})
    before = pio.renderers.default
    figures.use_study_renderer()
    assert pio.renderers.default == before
    assert "<style>" in shown[0].data
    bundle = pio.renderers["plotly_mimetype"].to_mimebundle(
        figures.sft_loss_figure(metrics()).to_dict())
    assert list(bundle) == [MIME]
    assert bundle[MIME]["config"]["showSendToCloud"] is False


def test_an_exported_notebook_draws_its_figures_with_one_plotly(tmp_path: Path) -> None:
    outputs = [new_output("display_data", {MIME: json.loads(figure.to_json())})
               for figure in (figures.sft_loss_figure(metrics()),
                              figures.rewards_figure(metrics()))]
    notebook = new_notebook(cells=[new_code_cell(outputs=[output]) for output in outputs])
    path = tmp_path / "n.ipynb"
    nbformat.write(notebook, path)
    assert path.stat().st_size < 50_000
    text = export_html(path).read_text(encoding="utf-8")
    assert text.count('class="plotly-graph-div"') == 2
    assert text.count("* plotly.js v") == 1
    assert text.index("* plotly.js v") < text.index('class="plotly-graph-div"')
