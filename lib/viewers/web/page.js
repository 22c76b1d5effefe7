// Ties the parts together: state in, view out, keys and buttons change the state.

async function startPage() {
  const data = await readCollection();
  const start = startingState(data);
  let state = fromHash(location.hash, start, data);
  const store = voteStore(document.body.dataset.page);
  const votes = voteView(data, store, () => state, () => show());
  let slice = [];
  let policy = "";
  let temperature = "";

  function change(changes) {
    state = { ...state, ...changes };
    show();
  }

  const show = () => keepFocus(draw);

  function draw() {
    const pairs = pairsOf(data, state.a, state.b);
    slice = selectPairs(pairs, state, data);
    writeHash(toHash(state, start));
    showControls(state);
    byId("presets").replaceChildren(...drawPresets(data, pairs, state, start, change));
    byId("histogram").replaceChildren(...drawHistogram(pairs, state, change));
    byId("slice").replaceChildren(...drawSlice(slice, state));
    byId("count").textContent = `${slice.length} of ${pairs.length}`;
    document.body.dataset.mode = state.mode;
    for (const button of document.querySelectorAll("nav button")) {
      button.setAttribute("aria-pressed", String(button.value === state.mode));
    }
    byId("view").replaceChildren(...view().flat().filter(Boolean));
  }

  const place = () => Math.max(0, slice.findIndex((pair) => pair.prompt.id === state.id));

  function view() {
    if (state.mode === "vote") return votes.draw();
    if (!slice.length) {
      return [h("p", { class: "legend" }, "No prompt passes the filters. Choose “everything”.")];
    }
    if (state.mode === "list") {
      return drawList(slice, state, data, (id) => change({ id, mode: "read" }));
    }
    byId("place").value = place() + 1;
    byId("place").max = slice.length;
    const pair = slice[place()];
    return state.mode === "candidates" ? candidatesOf(pair.prompt)
      : drawComparison(pair, [state.a, state.b], data, state.search, state.diff);
  }

  function candidatesOf(prompt) {
    const policies = policiesOf(data).filter((name) => poolsOf(prompt, name).length);
    policy = policies.includes(policy) ? policy : splitName(state.a).policy;
    const pools = poolsOf(prompt, policy);
    const pool = pools.find((one) => temperatureOf(one) === temperature)
      || pools.find((one) => one.chosen.has(state.a)) || pools[0];
    const pick = (label, names, chosen, choose) => h("div", { role: "group", "aria-label": label },
      h("span", {}, `${label} `), names.map((name) => h("button", { type: "button",
        "aria-pressed": String(name === chosen), onclick: () => {
          choose(name);
          show();
        } }, name || "as sampled")));
    return [h("div", { class: "picks" },
      pick("Policy", policies, policy, (name) => { policy = name; }),
      pick("Temperature", pools.map(temperatureOf), temperatureOf(pool), (name) => { temperature = name; })),
    ...drawCandidates(prompt, pool, data, state.search)];
  }

  function go(to) {
    if (!slice.length) return;
    change({ id: slice[Math.min(Math.max(0, to), slice.length - 1)].prompt.id });
    if (byId("main").getBoundingClientRect().top < 0) byId("main").scrollIntoView();
  }

  setUpControls(data, () => state, change);
  setUpKeys({ change, go, place, votes, state: () => state, slice: () => slice });
  byId("previous").addEventListener("click", () => go(place() - 1));
  byId("next").addEventListener("click", () => go(place() + 1));
  byId("place").addEventListener("change", (event) => go(Number(event.target.value) - 1));
  for (const button of document.querySelectorAll("nav button")) {
    button.addEventListener("click", () => change({ mode: button.value }));
  }
  addEventListener("hashchange", () => {
    state = fromHash(location.hash, start, data);
    show();
  });
  if (matchMedia("(max-width: 860px)").matches) byId("filters").open = false;
  show();
  document.body.dataset.ready = "yes";
}

startTheme();
startPage();
