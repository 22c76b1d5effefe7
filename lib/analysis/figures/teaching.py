"""Figures that explain: the tokens that carry the loss, and the attention of a packed row.

Notebooks 01 to 03 draw them of examples small enough to check by eye. Text is escaped; a colour
comes with a second mark (an underline), so that it is not the only carrier of meaning.
"""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
import torch

from lib.analysis.figures.theme import BLUE, GREY, style_figure
from lib.modeling.packed.masks import dense_mask
from lib.modeling.packed.packing import Layout, Span

RESPONSE = f"background:{BLUE}33;border-bottom:2px solid {BLUE}"
PROMPT = "opacity:0.75"  # of the page's own text colour
HIDDEN = f"{GREY}26"


def token_mask_html(tokens: Sequence[str], mask: Sequence[int]) -> str:
    """HTML of a conversation's tokens; those with mask 1 carry the loss and are highlighted."""
    cells = "".join(
        f'<span style="{RESPONSE if scored else PROMPT};margin-right:1px" '
        f'title="{"response" if scored else "prompt"}">{_visible(token)}</span>'
        for token, scored in zip(tokens, mask, strict=True))
    return (f'<div style="font-family:monospace;line-height:1.9;white-space:pre-wrap">{cells}</div>'
            f"<p>{sum(mask)} of {len(mask)} tokens carry the loss (blue, underlined).</p>")


def _visible(token: str) -> str:
    """A token as HTML with visible line breaks."""
    return escape(token).replace("\n", "&#8629;<br>") or "&#8709;"


def packed_row_figure(prompts: Sequence[tuple[int, Sequence[int]]]) -> go.Figure:
    """Which token sees which in one packed row; prompts: (length, lengths of its answers).

    A conversation is an answer behind a prompt of no tokens.
    """
    spans, start, labels = [], 0, []
    for number, (prompt, answers) in enumerate(prompts, start=1):
        spans.append(Span(start, prompt, tuple(answers)))
        start += prompt + sum(answers)
        labels += [f"prompt {number}"] * prompt
        labels += [f"prompt {number}, answer {n}" for n, length in enumerate(answers, start=1)
                   for _ in range(length)]
    mask = dense_mask(Layout(tuple(spans), start), None, torch.device("cpu"))
    figure = go.Figure(go.Heatmap(
        z=mask.int().numpy(), colorscale=[[0, HIDDEN], [1, BLUE]], showscale=False, xgap=1,
        ygap=1, text=[[f"{row} sees {column}" for column in labels] for row in labels],
        hovertemplate="%{text}<extra></extra>"))
    share = mask.float().mean().item()
    kind = "prompts" if any(length for length, _ in prompts) else "conversations"
    style_figure(figure, f"Only {share:.0%} of all pairs of positions are computed",
                 f"{start} tokens of {len(prompts)} {kind} in a row; blue: the query sees the key",
                 "is seen (key position)", "sees (query position)", plot_height=400)
    figure.update_xaxes(constrain="domain", constraintoward="left", showgrid=False)
    return figure.update_yaxes(autorange="reversed", scaleanchor="x", constrain="domain",
                               showgrid=False)
