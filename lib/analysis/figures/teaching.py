"""Pictures that explain: which tokens carry the loss, and what a packed row looks like.

Used by notebooks 01 to 03 on examples small enough to check by eye. Text is escaped; colours come
with a second mark (underline, border), so that they are not the only carrier of meaning.
"""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
import torch

from lib.analysis.figures.theme import framed
from lib.modeling.packed.attention import Layout, Span

RESPONSE = "background:#0072b233;border-bottom:2px solid #0072b2"
PROMPT = "color:#8a8a8a"


def token_mask_html(tokens: Sequence[str], mask: Sequence[int]) -> str:
    """Tokens of a conversation in order, those with mask 1 highlighted: they carry the loss."""
    cells = "".join(
        f'<span style="{RESPONSE if scored else PROMPT};margin-right:1px" '
        f'title="{"response" if scored else "prompt"}">{_visible(token)}</span>'
        for token, scored in zip(tokens, mask, strict=True))
    return (f'<div style="font-family:monospace;line-height:1.9;white-space:pre-wrap">{cells}</div>'
            f"<p>{sum(mask)} of {len(mask)} tokens carry the loss (blue, underlined).</p>")


def _visible(token: str) -> str:
    """A token as text; line breaks are shown and kept."""
    return escape(token).replace("\n", "&#8629;<br>") or "&#8709;"


def packed_row_figure(trees: Sequence[tuple[int, Sequence[int]]]) -> go.Figure:
    """Which token sees which in one packed row; trees are (prompt length, answer lengths)."""
    spans, start, labels = [], 0, []
    for number, (prompt, answers) in enumerate(trees, start=1):
        spans.append(Span(start, prompt, tuple(answers)))
        start += prompt + sum(answers)
        labels += [f"prompt {number}"] * prompt
        labels += [f"prompt {number}, answer {n}" for n, length in enumerate(answers, start=1)
                   for _ in range(length)]
    mask = Layout(tuple(spans), start).dense_mask(None, torch.device("cpu"))
    figure = go.Figure(go.Heatmap(
        z=mask.int().numpy(), colorscale=[[0, "#f2f2f2"], [1, "#0072b2"]], showscale=False, xgap=1,
        ygap=1, text=[[f"{row} sees {column}" for column in labels] for row in labels],
        hovertemplate="%{text}<extra></extra>"))
    share = mask.float().mean().item()
    framed(figure, f"Only {share:.0%} of all pairs of positions are computed",
           f"{start} tokens of {len(trees)} prompts side by side; blue: the query sees the key",
           "is seen (key position)", "sees (query position)")
    figure.update_layout(width=560, height=600)
    figure.update_yaxes(autorange="reversed", scaleanchor="x")
    return figure
