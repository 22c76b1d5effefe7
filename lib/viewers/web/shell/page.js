// Ties the parts together: state in, view out; keys and buttons ask for changes of the state.
//
// `place` is where the viewer stands: a document of its own (standalone.js) or a notebook's panel
// (panel.js). It gives root (document or shadow root), body, store of votes, memory from visit to
// visit, address of the view, and what the surroundings say of dark and light.

const NARROW = 860; // pixels; as in views.css
const SAME_VIEW = ["id", "search", "diff", "policy", "temperature", "full"]; // no step for Back

function openViewer(data, place, title = "") {
  const start = startingState(data);
  const page = {
    ...place,
    data,
    start,
    state: fromHash(place.address.read(), start, data),
    slice: [],
    byId: (id) => place.root.getElementById(id),
    theme: themeOf(place.body, place.memory, place.theme),
  };
  page.change = (changes) => {
    page.state = { ...page.state, ...changes };
    const walked = Object.keys(changes).every((name) => SAME_VIEW.includes(name));
    page.address.write(toHash(page.state, start), walked);
    page.show();
  };
  page.show = () => keepFocus(page.root, () => drawPage(page));
  page.body.append(...drawShell(data, title));
  page.ballot = new Ballot(page);
  connect(page);
  if (page.body.clientWidth < NARROW) page.byId("filters").open = false;
  page.show();
  page.body.dataset.ready = "yes";
  return page;
}

function connect(page) {
  setUpControls(page);
  setUpKeys(page);
  const { byId } = page;
  byId("previous").addEventListener("click", () => go(page, placeOf(page) - 1));
  byId("next").addEventListener("click", () => go(page, placeOf(page) + 1));
  byId("place").addEventListener("change", (event) => go(page, Number(event.target.value) - 1));
  for (const one of page.body.querySelectorAll(".views button")) {
    one.addEventListener("click", () => page.change({ mode: one.value }));
  }
  page.address.listen(() => {
    page.state = fromHash(page.address.read(), page.start, page.data);
    page.show();
  });
}

function drawPage(page) {
  const { data, state, body, byId } = page;
  const pairs = pairsOf(data, state.a, state.b);
  const listed = body.dataset.mode === "list";
  page.slice = selectPairs(pairs, state, data);
  showControls(page);
  byId("presets").replaceChildren(...drawPresets(page, pairs));
  byId("histogram").replaceChildren(...drawHistogram(page, pairs));
  byId("slice").replaceChildren(...drawSlice(page));
  byId("count").textContent = `${page.slice.length} of ${pairs.length} prompts`;
  body.dataset.mode = state.mode;
  for (const one of body.querySelectorAll(".views button")) {
    one.setAttribute("aria-pressed", String(one.value === state.mode));
  }
  byId("view").replaceChildren(...drawView(page).flat().filter(Boolean));
  byId("voter").replaceChildren(...(state.mode === "vote" ? page.ballot.drawVoter() : []));
  if (state.mode === "list" && !listed)
    byId("view").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
}

function drawView(page) {
  const { data, state, slice } = page;
  if (state.mode === "vote") return page.ballot.draw();
  if (!slice.length) {
    return [legend("No prompt passes the filters. Choose “everything”.")];
  }
  if (state.mode === "list") return drawList(page);
  page.byId("place").value = placeOf(page) + 1;
  page.byId("place").max = slice.length;
  const pair = slice[placeOf(page)];
  if (state.mode === "candidates") return drawPools(page, pair.prompt);
  return drawComparison(pair, [state.a, state.b], data, state.search, state.diff);
}

function placeOf(page) {
  return Math.max(0, page.slice.findIndex((pair) => pair.prompt.id === page.state.id));
}

function go(page, to) {
  if (!page.slice.length) return;
  const place = Math.min(Math.max(0, to), page.slice.length - 1);
  page.change({ id: page.slice[place].prompt.id });
  if (page.byId("main").getBoundingClientRect().top < 0) page.byId("main").scrollIntoView();
}
