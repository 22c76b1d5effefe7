// Ties the parts together: state in, view out; keys and buttons ask for changes of the state.

async function startPage() {
  const data = await readCollection();
  const start = startingState(data);
  const page = {
    data,
    start,
    state: fromHash(location.hash, start, data),
    slice: [],
  };
  page.change = (changes) => {
    page.state = { ...page.state, ...changes };
    page.show();
  };
  page.show = () => keepFocus(() => drawPage(page));
  page.ballot = new Ballot(page, voteStore(document.body.dataset.page));
  connect(page);
  if (matchMedia("(max-width: 860px)").matches) byId("filters").open = false;
  page.show();
  document.body.dataset.ready = "yes";
}

function connect(page) {
  setUpControls(page.data, () => page.state, page.change);
  setUpKeys(page);
  byId("previous").addEventListener("click", () => go(page, placeOf(page) - 1));
  byId("next").addEventListener("click", () => go(page, placeOf(page) + 1));
  byId("place").addEventListener("change", (event) => go(page, Number(event.target.value) - 1));
  for (const button of document.querySelectorAll("nav button")) {
    button.addEventListener("click", () => page.change({ mode: button.value }));
  }
  addEventListener("hashchange", () => {
    page.state = fromHash(location.hash, page.start, page.data);
    page.show();
  });
}

function drawPage(page) {
  const { data, state, start, change } = page;
  const pairs = pairsOf(data, state.a, state.b);
  page.slice = selectPairs(pairs, state, data);
  writeHash(toHash(state, start));
  showControls(state);
  byId("presets").replaceChildren(...drawPresets(data, pairs, state, start, change));
  byId("histogram").replaceChildren(...drawHistogram(pairs, state, change));
  byId("slice").replaceChildren(...drawSlice(page.slice, state));
  byId("count").textContent = `${page.slice.length} of ${pairs.length} prompts`;
  document.body.dataset.mode = state.mode;
  for (const button of document.querySelectorAll("nav button")) {
    button.setAttribute("aria-pressed", String(button.value === state.mode));
  }
  byId("view").replaceChildren(...drawView(page).flat().filter(Boolean));
  byId("voter").replaceChildren(...(state.mode === "vote" ? page.ballot.drawVoter() : []));
}

function drawView(page) {
  const { data, state, slice } = page;
  if (state.mode === "vote") return page.ballot.draw();
  if (!slice.length) {
    return [h("p", { class: "legend" }, "No prompt passes the filters. Choose “everything”.")];
  }
  if (state.mode === "list") {
    return drawList(slice, state, data, (id) => page.change({ id, mode: "read" }));
  }
  byId("place").value = placeOf(page) + 1;
  byId("place").max = slice.length;
  const pair = slice[placeOf(page)];
  if (state.mode === "candidates") return drawPools(page, pair.prompt);
  return drawComparison(pair, [state.a, state.b], data, state.search, state.diff);
}

function placeOf(page) {
  return Math.max(
    0,
    page.slice.findIndex((pair) => pair.prompt.id === page.state.id),
  );
}

function go(page, to) {
  if (!page.slice.length) return;
  const place = Math.min(Math.max(0, to), page.slice.length - 1);
  page.change({ id: page.slice[place].prompt.id });
  if (byId("main").getBoundingClientRect().top < 0) byId("main").scrollIntoView();
}

startTheme();
startPage();
