// The slice as a table, fifty rows at a time; a row opens in Read.

const ROWS_AT_A_TIME = 50;

function drawList(pairs, state, data, open) {
  const body = h("tbody");
  const more = h("button", { type: "button", onclick: () => extend() });
  let shown = 0;

  function extend() {
    const next = pairs.slice(shown, shown + ROWS_AT_A_TIME);
    body.append(...next.map((pair) => drawRow(pair, state, open)));
    shown += next.length;
    more.hidden = shown === pairs.length;
    more.textContent = `Show ${Math.min(ROWS_AT_A_TIME, pairs.length - shown)} more`;
  }

  extend();
  const heads = ["Prompt", "Source", `${state.a}`, `${state.b}`, `Gap by ${state.score}`];
  return [
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Rows" },
      h(
        "table",
        { class: "rows" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            heads.map((head) => h("th", { scope: "col" }, head)),
          ),
        ),
        body,
      ),
    ),
    more,
  ];
}

function drawRow(pair, state, open) {
  const brief = (text) => (text.length > 140 ? `${text.slice(0, 139)}…` : text);
  const gap = gapOf(pair, state.score);
  return h(
    "tr",
    {},
    h(
      "td",
      {},
      h(
        "button",
        { type: "button", class: "link", dir: "auto", onclick: () => open(pair.prompt.id) },
        brief(pair.prompt.text),
      ),
    ),
    h("td", {}, pair.prompt.source),
    [pair.a, pair.b].map((answer) => h("td", { dir: "auto" }, brief(answer.text))),
    h(
      "td",
      { class: `gap ${winnerOf(pair, state.score)}` },
      `${gap > 0 ? "+" : ""}${number(gap)}`,
    ),
  );
}
