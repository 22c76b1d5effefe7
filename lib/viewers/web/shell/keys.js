// Keys for everything that is done often; `?` shows them. Typing in a field is never a command.

function setUpKeys(page) {
  const { change, ballot, byId, root } = page;
  const view = (mode) => () => page.data.modes.includes(mode) && change({ mode });
  const step = (by) => () => page.state.mode !== "list" && go(page, placeOf(page) + by);
  const openFilters = (id) => () => {
    byId("filters").open = true;
    byId(id).focus();
  };
  const commands = {
    j: step(1),
    k: step(-1),
    ArrowRight: step(1),
    ArrowLeft: step(-1),
    x: () => go(page, Math.floor(Math.random() * page.slice.length)),
    "/": openFilters("search"),
    f: openFilters("a"),
    d: () => change({ diff: !page.state.diff }),
    r: view("read"),
    c: view("candidates"),
    v: view("vote"),
    l: view("list"),
    t: () => page.theme.turn(),
    "?": () => byId("help").showModal(),
  };
  const judging = { s: () => ballot.skip(), u: () => ballot.undo() };
  VERDICTS.forEach(([verdict], index) => {
    judging[index + 1] = () => ballot.vote(verdict);
  });

  root.addEventListener("keydown", (event) => {
    const voting = page.state.mode === "vote";
    if (!byId("help").open) onKey(event, voting ? { ...commands, ...judging } : commands);
  });
  byId("keys").addEventListener("click", commands["?"]);
  byId("theme").addEventListener("click", commands.t);
}

// A key that is held down may walk, but not vote again and again.
const WALKING = ["j", "k", "ArrowRight", "ArrowLeft"];

function onKey(event, commands) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const known = Object.hasOwn(commands, event.key);
  if (!known || (event.repeat && !WALKING.includes(event.key))) return;
  if (event.key.startsWith("Arrow") && event.target.closest(".scroll")) return;
  event.preventDefault();
  commands[event.key]();
}

// What was pressed is drawn anew; whoever pressed it must find the focus where it was.
function keepFocus(root, redraw) {
  const pressed = root.activeElement;
  const box = pressed && pressed.closest("#presets, #histogram, #voter, #view");
  const focusable = () => [...box.querySelectorAll("button, input, summary")];
  const place = box ? focusable().indexOf(pressed) : -1;
  redraw();
  if (place >= 0 && !root.contains(pressed)) focusable()[place]?.focus();
}

function isTyping(element) {
  return element.matches("select, textarea, input:not([type=checkbox], [type=radio])");
}

// Dark or light as `follow` says (the system, the notebook) until the reader says otherwise.
function themeOf(body, memory, follow) {
  let chosen = memory.get("theme");
  const show = () => (body.dataset.theme = chosen || follow());
  const turn = () => {
    chosen = body.dataset.theme === "dark" ? "light" : "dark";
    memory.set("theme", chosen);
    show();
  };
  show();
  return { show, turn };
}
