// The slice as a table, fifty rows at a time; a head sorts, a row opens in Read. With whole answers
// every row is drawn, so that a filtered set can be printed.

const ROWS_AT_A_TIME = 50;
const BRIEF = 140; // characters of a text in a row

function drawList(page) {
  const { slice, state } = page;
  const body = h("tbody");
  const more = button({ onclick: () => extend(ROWS_AT_A_TIME) });
  let shown = 0;

  function extend(rows) {
    const next = slice.slice(shown, shown + rows);
    body.append(...next.map((pair) => drawRow(pair, page)));
    shown += next.length;
    more.hidden = shown === slice.length;
    more.textContent = `Show ${Math.min(ROWS_AT_A_TIME, slice.length - shown)} more`;
  }

  const last = slice.findIndex((pair) => pair.prompt.id === state.id);
  const pages = Math.ceil((last + 1) / ROWS_AT_A_TIME) || 1;
  extend(state.full ? slice.length : pages * ROWS_AT_A_TIME);
  const heads = [
    ["Prompt", "prompt"],
    ["Source", "source"],
    [state.a, "tokens left"],
    [state.b, "tokens right"],
    [`Gap by ${state.score}`, "left minus right"],
  ];
  const whole = h("input", {
    type: "checkbox",
    onchange: (event) => page.change({ full: event.target.checked }),
  });
  whole.checked = state.full;
  return [
    div("whole", h("label", {}, whole, " whole answers of every row, as for printing")),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "group", "aria-label": "Rows" },
      h(
        "table",
        { class: "rows" },
        h("thead", {}, h("tr", {}, heads.map((head) => drawHead(head, page)))),
        body,
      ),
    ),
    more,
  ];
}

// Pressed once a head sorts by its column, pressed again the other way round.
function drawHead([label, order], page) {
  const { state, change } = page;
  const sorted = state.order === order;
  const arrow = (down) => (down ? " ↓" : " ↑");
  const down = sorted && ["prompt", "source"].includes(order) === state.reverse;
  const turn = () => change({ order, reverse: sorted && !state.reverse });
  const words = order.startsWith("tokens") ? `Sort by the length of ${label}` : `Sort by ${label}`;
  return h(
    "th",
    { scope: "col", "aria-sort": sorted ? (down ? "descending" : "ascending") : null },
    button({ class: "head", title: words, onclick: turn }, label, sorted ? arrow(down) : ""),
  );
}

function drawRow(pair, page) {
  const { state } = page;
  const cut = (text) => (text.length > BRIEF ? `${text.slice(0, BRIEF - 1)}…` : text);
  const brief = state.full ? (text) => text : cut;
  const gap = gapOf(pair, state.score);
  const open = () => page.change({ id: pair.prompt.id, mode: "read" });
  return h(
    "tr",
    { "aria-current": pair.prompt.id === state.id ? "true" : null },
    h("td", {}, button({ class: "link", dir: "auto", onclick: open }, brief(pair.prompt.text))),
    h("td", {}, pair.prompt.source),
    [pair.a, pair.b].map((answer) => h("td", { dir: "auto" }, brief(answer.text))),
    h(
      "td",
      { class: `gap ${winnerOf(pair, state.score)}` },
      `${gap > 0 ? "+" : ""}${number(gap)}`,
    ),
  );
}
