// Keys for everything that is done often; `?` shows them. Typing in a field is never a command.

function setUpKeys(page) {
  const { change, ballot } = page;
  const commands = {
    j: () => go(page, placeOf(page) + 1),
    k: () => go(page, placeOf(page) - 1),
    x: () => go(page, Math.floor(Math.random() * page.slice.length)),
    "/": () => openFilters(() => byId("search").focus()),
    d: () => change({ diff: !page.state.diff }),
    r: () => change({ mode: "read" }),
    c: () => change({ mode: "candidates" }),
    v: () => change({ mode: "vote" }),
    l: () => change({ mode: "list" }),
    t: () => switchTheme(),
    f: () => openFilters(() => byId("a").focus()),
    "?": () => byId("help").showModal(),
  };
  const judging = { s: () => ballot.skip(), u: () => ballot.undo() };
  VERDICTS.forEach(([verdict], index) => {
    judging[index + 1] = () => ballot.vote(verdict);
  });

  document.addEventListener("keydown", (event) => {
    const voting = page.state.mode === "vote";
    onKey(event, voting ? { ...commands, ...judging } : commands);
  });
  byId("keys").addEventListener("click", commands["?"]);
  byId("theme").addEventListener("click", commands.t);
}

// A key that is held down may walk, but not vote again and again.
function onKey(event, commands) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (!commands[event.key] || (event.repeat && !"jk".includes(event.key))) return;
  event.preventDefault();
  commands[event.key]();
}

function openFilters(then) {
  byId("filters").open = true;
  then();
}

// What was pressed is drawn anew; whoever pressed it must find the focus where it was.
function keepFocus(redraw) {
  const pressed = document.activeElement;
  const box = pressed && pressed.closest("#presets, #histogram, #voter, #view");
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
  const follow = () => {
    document.documentElement.dataset.theme = dark.matches ? "dark" : "light";
  };
  dark.addEventListener("change", follow);
  follow();
}

function switchTheme() {
  const root = document.documentElement.dataset;
  root.theme = root.theme === "dark" ? "light" : "dark";
}
