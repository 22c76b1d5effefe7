// The playground: a prompt goes to the kernel, pictures of the growing answers come back.

const ASKING = "asking the kernel… (it answers when the running cell ends)";

function startPlayground(panel) {
  const { model, root, body } = panel;
  const byId = (id) => root.getElementById(id);
  let [ask, running] = [0, false];
  body.append(...drawPlayground(model.get("setup"), start, stop));
  panel.open = { show: showButtons, withoutKernel: "The answers below are the last ones." };
  model.on("msg:custom", (message) => {
    if (message.kind !== "picture" || (ask && message.ask !== ask)) return;
    ask = message.ask;
    show(message.doing, message.running, message.columns);
  });
  say(panel, "");
  showButtons();
  root.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) start();
  });

  function start() {
    const prompt = byId("prompt").value.trim();
    const systems = [...byId("players").querySelectorAll(":checked")].map((box) => box.value);
    if (running || !panel.alive) return;
    if (!prompt || !systems.length) {
      byId("doing").textContent = "Type a prompt and choose at least one system.";
      return;
    }
    ask = Date.now();
    show(ASKING, true, []);
    const knob = (id) => Number(byId(id).value);
    const [temperature, top_k, n] = [knob("temperature"), knob("top-k"), knob("n")];
    model.send({ kind: "ask", ask, prompt, systems, temperature, top_k, n });
  }

  function stop() {
    byId("doing").textContent = "stopping…";
    model.send({ kind: "stop" });
  }

  function show(doing, isRunning, columns) {
    running = isRunning;
    byId("doing").textContent = doing;
    byId("answers").replaceChildren(...columns.map(drawColumn));
    showButtons();
  }

  function showButtons() {
    byId("go").disabled = running || !panel.alive;
    byId("stop").disabled = !running || !panel.alive;
  }
}

function drawPlayground({ systems, temperature, top_k, n }, start, stop) {
  const box = (value, place) => {
    const input = h("input", { type: "checkbox", value, checked: place === systems.length - 1 });
    return h("label", {}, input, ` ${value}`);
  };
  const numeric = (id, label, value, limits) =>
    h("span", {}, field(id, label, { type: "number", value, ...limits }));
  return [
    div(
      "play",
      h("label", { for: "prompt" }, "Prompt"),
      h("textarea", { id: "prompt", rows: 3, placeholder: "Type a prompt" }),
      h("fieldset", { id: "players" }, h("legend", {}, "Systems"), systems.map(box)),
      div(
        "knobs",
        numeric("temperature", "Temperature", temperature, { min: 0, max: 2, step: 0.1 }),
        numeric("top-k", "Top-k (0: all words)", top_k, { min: 0, max: 100000 }),
        numeric("n", "N", n, { min: 1, max: 64 }),
      ),
      div(
        "aside",
        button({ id: "go", onclick: start }, "Answer"),
        button({ id: "stop", onclick: stop }, "Stop"),
        h("span", { id: "doing", role: "status" }),
      ),
      legend(
        "Answers appear side by side as they are written, as plain text; the one that Best-of-N " +
          "takes is marked as chosen, an empty one never is.",
      ),
    ),
    h("div", { id: "answers", class: "grid" }),
  ];
}

function drawColumn({ system, texts, cut, scores, chosen, note }) {
  const models = Object.keys(scores);
  const cards = texts.map((text, place) => {
    const badges = place === chosen ? [{ kind: "chosen", label: "chosen" }] : [];
    const bars = models.map((model) => {
      const known = scores[model].filter((score) => score != null);
      const reach = [Math.min(...known), Math.max(...known)];
      return drawScore(model, scores[model][place], reach, badges.length ? "a" : "plain");
    });
    const side = badges.length ? "a" : "plain";
    const facts = cut[place] ? CUT_OFF : "";
    return drawFrame(`#${place + 1}`, side, badges, facts, bars, drawText(text));
  });
  return h(
    "div",
    { role: "group", "aria-label": `Answers of ${system}` },
    h("strong", { class: "name" }, system),
    note ? h("p", { class: "legend warn" }, note) : null,
    div("pool", cards.length ? cards : legend("waiting…")),
  );
}
