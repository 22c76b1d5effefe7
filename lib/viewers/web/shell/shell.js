// The frame around the answers: header, filters, pager, keys. It is drawn once; ids are those of a
// document or of a panel.

const VIEWS = [
  ["read", "r", "Read"],
  ["candidates", "c", "Candidates"],
  ["vote", "v", "Vote blind"],
  ["list", "l", "List"],
];
const KEYS = [
  [["j", "k", "→", "←", "x"], "next, previous (letter or arrow), a random row"],
  [["/", "f"], "search, filters; Esc leaves a field"],
  [["d"], "mark words or not"],
  [["r", "c", "v", "l"], "read, candidates, vote blind, list"],
  [["1", "2", "3", "4"], "blind: A, B, tie, both are bad"],
  [["s", "u"], "blind: skip, undo"],
  [["t", "?"], "dark or light, these keys"],
];

function drawShell(data, title) {
  const views = VIEWS.filter(([mode]) => data.modes.includes(mode));
  const whole = ["header", "nav", "aside", "main"];
  const [header, nav, aside, main] = title ? whole : whole.map(() => "div"); // no page in a page
  const role = title ? null : "group";
  return [
    div(
      "shell",
      h(
        header,
        { class: "top" },
        title ? h("h1", {}, title) : null,
        h(
          nav,
          { class: "views", role, "aria-label": "Views" },
          views.map(([value, letter, label]) => button({ value }, key(letter), ` ${label}`)),
        ),
        div(
          "tools",
          button({ id: "theme" }, key("t"), " Dark or light"),
          button({ id: "keys" }, key("?"), " Keys"),
        ),
      ),
      div(
        "layout",
        h(
          aside,
          { class: "side", role, "aria-label": "Choose and filter" },
          drawFilters(),
          h("div", { id: "voter" }),
          drawLegend(data),
        ),
        h(main, { id: "main" }, drawPager(), h("div", { id: "view" })),
      ),
    ),
    drawHelp(),
  ];
}

const field = (id, label, control) => [
  h("label", { for: id }, label),
  typeof control === "string" ? h(control, { id }) : h("input", { id, ...control }),
];

function drawFilters() {
  const span = (name, words) => h("span", { class: name }, words);
  const both = (open, blind) => [span("open", open), span("blind", blind)];
  const swap = { id: "swap", "aria-label": "Swap left and right", title: "Swap left and right" };
  const text = { type: "search", placeholder: "prompts and answers", autocomplete: "off" };
  const ends = [h("span", { id: "left-end" }), span("", "even"), h("span", { id: "right-end" })];
  return h(
    "details",
    { id: "filters", open: true },
    h("summary", {}, "Systems and filters"),
    div(
      "systems",
      field("a", both("Left", "Between"), "select"),
      field("b", both("Right", "and"), "select"),
      button(swap, "⇅"),
    ),
    div("search", field("search", [key("/"), " Search"], { ...text, spellcheck: "false" })),
    h("div", { id: "presets", role: "group", "aria-label": "Presets" }),
    div(
      "numbers",
      field("score", "Scores of", "select"),
      h("div", { id: "slice", role: "status" }),
      h("div", {
        id: "histogram",
        role: "group",
        "aria-label": "Prompts by score gap, from left wins to right wins",
      }),
      h("p", { class: "axis", "aria-hidden": "true" }, ends),
    ),
    h(
      "details",
      { class: "more-filters" },
      h("summary", {}, "More filters"),
      div(
        "fields",
        field("order", "Order", "select"),
        field("seed", "Seed", { type: "number", step: 1 }),
        field("winner", "Winner", "select"),
        field("shortest", "Tokens from", { type: "number", min: 0 }),
        field("longest", "to", { type: "number", min: 0 }),
      ),
      h("fieldset", { id: "flags" }, h("legend", {}, "Only pairs that")),
      h("fieldset", { id: "sources" }, h("legend", {}, "Sources")),
    ),
  );
}

function drawPager() {
  const diff = h("input", { type: "checkbox", id: "diff" });
  return div(
    "pager",
    button({ id: "previous" }, key("k"), " Previous"),
    button({ id: "next" }, key("j"), " Next"),
    h("label", {}, "Row ", h("input", { id: "place", type: "number", min: 1, value: 1 })),
    h("span", { id: "count", role: "status" }),
    h("label", { class: "diff" }, diff, " ", key("d"), " mark words"),
  );
}

function drawHelp() {
  const head = (letters) => h("th", { scope: "row" }, letters.map((one) => [key(one), " "]));
  const row = ([letters, words]) => h("tr", {}, head(letters), h("td", {}, words));
  return h(
    "dialog",
    { id: "help", "aria-labelledby": "help-title" },
    h("h2", { id: "help-title" }, "Keys"),
    h("table", {}, h("tbody", {}, KEYS.map(row))),
    h("form", { method: "dialog" }, h("button", {}, "Close")),
  );
}
