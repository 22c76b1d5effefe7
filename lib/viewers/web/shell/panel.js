// The viewer as a notebook's panel (anywidget): the kernel sends the data when the panel is shown
// and takes votes one by one; the view is the widget's `view`. A shadow root keeps styles and ids of
// the notebook and of the panel apart.

const WAITING =
  "Waiting for the kernel. It answers when the running cell ends. " +
  "If none is connected, connect one and run this cell again.";
const SILENT =
  "The kernel does not answer: it is busy with another cell, or gone. If so, run this cell again.";
const GONE = "The kernel that made this panel is gone: run the cell again. ";

function render({ model, el, signal }) {
  const host = h("div");
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  root.adoptedStyleSheets = [sheet];
  const notice = h("p", { class: "notice", role: "status" }, WAITING);
  const body = h("div", { class: "viewer page panel", tabindex: -1 }, notice);
  root.append(body);
  el.append(h("style", {}, `.viewer-note-${model.get("setup").id} { display: none }`), host);
  keepKeys(host, signal);

  const theme = () => (looksDark(el) ? "dark" : "light");
  const panel = { model, root, body, notice, theme, alive: true, open: null, heard: 0 };
  const observe = (target, options, act) => {
    const observer = new MutationObserver(act);
    observer.observe(target, { attributes: true, ...options });
    signal?.addEventListener("abort", () => observer.disconnect());
  };
  const follow = () => {
    if (panel.open?.theme) panel.open.theme.show();
    else body.dataset.theme = theme();
  };
  observe(document.body, {}, follow);
  observe(document.documentElement, {}, follow);
  observe(el, { attributeFilter: ["class"] }, () => watchKernel(panel, el));
  follow();
  (model.get("setup").kind === "playground" ? startPlayground : startAnswers)(panel);
  watchKernel(panel, el);
  model.on("msg:custom", () => heardKernel(panel));
  const ask = () => askKernel(panel);
  for (const touch of ["pointerdown", "keydown"]) body.addEventListener(touch, ask);
  model.send({ kind: "ready" });
}

// No notebook hears what is typed in a panel, but for combinations such as Ctrl-S. JupyterLab
// listens before the panel can, and leaves alone what has this mark.
function keepKeys(host, signal) {
  const plain = (event) => !event.ctrlKey && !event.metaKey;
  const mark = (event) => host.toggleAttribute("data-lm-suppress-shortcuts", plain(event));
  addEventListener("keydown", mark, { capture: true, signal });
  host.addEventListener("keydown", (event) => plain(event) && event.stopPropagation());
}

// Base widgets mark a view whose kernel is gone with this class.
function watchKernel(panel, el) {
  const alive = !el.classList.contains("jupyter-widgets-disconnected");
  if (panel.alive === alive) return;
  panel.alive = alive;
  say(panel, alive ? (panel.open ? "" : WAITING) : GONE + (panel.open?.withoutKernel || ""));
  panel.open?.show?.();
}

// A restarted kernel tells nobody, so whoever touches the panel makes it ask.
function askKernel(panel) {
  if (!panel.open || panel.asked || Date.now() - panel.heard < 1000) return;
  panel.asked = setTimeout(() => say(panel, SILENT), 3000);
  panel.model.send({ kind: "ping" });
}

function heardKernel(panel) {
  clearTimeout(panel.asked);
  Object.assign(panel, { asked: null, heard: Date.now() });
  if (panel.notice.textContent === SILENT) say(panel, "");
}

function say(panel, words) {
  panel.notice.textContent = words;
  panel.notice.hidden = !words;
}

// JupyterLab says so itself; elsewhere light letters mean a dark notebook.
function looksDark(el) {
  const said = document.body.dataset.jpThemeLight;
  if (said) return said === "false";
  const [r, g, b] = (getComputedStyle(el).color.match(/[\d.]+/g) || [0, 0, 0]).map(Number);
  return 0.299 * r + 0.587 * g + 0.114 * b > 128;
}

function startAnswers(panel) {
  const { model } = panel;
  model.on("msg:custom", async (message, buffers) => {
    if (message.kind === "refused") say(panel, `The vote was not written: ${message.reason}`);
    if (message.kind !== "data" || panel.open) return;
    panel.open = {}; // a second copy may be under way
    const data = readCollection(await unzip(buffers[0]));
    say(panel, "");
    panel.open = openViewer(data, placeOfPanel(panel));
    panel.open.withoutKernel = "What is shown can still be read; votes need a kernel.";
  });
}

function placeOfPanel(panel) {
  const { model, root, body, theme } = panel;
  const browser = memoryOfBrowser();
  return {
    root,
    body,
    theme,
    store: storeOfKernel(panel),
    // the theme is the notebook's, not that of the last visit
    memory: {
      get: (name) => (name === "theme" ? "" : browser.get(name)),
      set: (name, value) => name !== "theme" && browser.set(name, value),
    },
    address: {
      read: () => model.get("view"),
      write(hash) {
        model.set("view", hash);
        model.save_changes();
      },
      listen() {},
    },
  };
}

// Votes as they are on disk, and those that the kernel has not confirmed yet.
function storeOfKernel(panel) {
  const { model } = panel;
  const waiting = new Map();
  const name = (vote) => JSON.stringify([vote.time, vote.rater, vote.id, vote.vote]);
  const votes = [];
  const load = () => {
    const kept = model.get("votes");
    kept.forEach((vote) => waiting.delete(name(vote)));
    votes.splice(0, votes.length, ...kept, ...waiting.values());
  };
  model.on("change:votes", () => {
    load();
    panel.open?.show?.();
  });
  load();
  return {
    votes,
    add(vote) {
      waiting.set(name(vote), vote);
      votes.push(vote);
      model.send({ kind: "vote", vote });
    },
    where() {
      const { votes: file, damage = [] } = model.get("setup");
      const late = waiting.size ? [`${count(waiting.size, "vote")} not written yet.`] : [];
      return [`Each vote is written to ${file} at once.`, ...late, ...damage].join(" ");
    },
    file: "",
    open: () => panel.alive,
  };
}

export default { render };
