// Keys for everything that is done often; `?` shows them. Typing in a field is never a command.

function setUpKeys({ change, go, place, votes, state, slice }) {
  const commands = {
    j: () => go(place() + 1),
    k: () => go(place() - 1),
    x: () => go(Math.floor(Math.random() * slice().length)),
    "/": () => openFilters(() => byId("search").focus()),
    d: () => change({ diff: !state().diff }),
    r: () => change({ mode: "read" }),
    c: () => change({ mode: "candidates" }),
    v: () => change({ mode: "vote" }),
    l: () => change({ mode: "list" }),
    t: () => switchTheme(),
    f: () => openFilters(() => byId("a").focus()),
    "?": () => byId("help").showModal(),
  };
  const ballot = { s: votes.skip, u: votes.undo };
  VERDICTS.forEach(([verdict], index) => { ballot[index + 1] = () => votes.vote(verdict); });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    if (isTyping(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const command = (state().mode === "vote" && ballot[event.key]) || commands[event.key];
    if (!command || event.repeat && command !== commands.j && command !== commands.k) return;
    event.preventDefault();
    command();
  });
  byId("keys").addEventListener("click", commands["?"]);
  byId("theme").addEventListener("click", commands.t);
}

function openFilters(then) {
  byId("filters").open = true;
  then();
}

// What was pressed is drawn anew; whoever pressed it must find the focus where it was.
function keepFocus(redraw) {
  const pressed = document.activeElement;
  const box = pressed && pressed.closest("#presets, #histogram, #view");
  const focusable = () => [...box.querySelectorAll("button, input, summary")];
  const place = box ? focusable().indexOf(pressed) : -1;
  redraw();
  if (place >= 0 && !document.contains(pressed)) focusable()[place]?.focus();
}

function isTyping(element) {
  return element.matches("select, textarea, input:not([type=checkbox], [type=radio])");
}

// Dark or light as the system says, until the reader says otherwise.
function startTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => { document.documentElement.dataset.theme = dark.matches ? "dark" : "light"; };
  dark.addEventListener("change", follow);
  follow();
}

function switchTheme() {
  const root = document.documentElement.dataset;
  root.theme = root.theme === "dark" ? "light" : "dark";
}
