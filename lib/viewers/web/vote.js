// Blind reading: two answers without names, four verdicts, then the next prompt.

const VERDICTS = [["left", "A is better"], ["right", "B is better"], ["tie", "Tie"],
  ["both bad", "Both are bad"]];

function voteView(data, store, state, redraw) {
  const skipped = [];
  const session = { started: Date.now(), rater: "", reveal: false, last: null, id: null };

  function queue() {
    const pairs = pairsOf(data, state().a, state().b);
    const different = pairs.filter((pair) => pair.a.text !== pair.b.text);
    const order = shuffled(different.map((pair) => pair.prompt.id), state().seed);
    const voted = lastVotes(store.votes, session.rater, state().a, state().b);
    const open = order.filter((id) => !voted.has(id));
    const waiting = open.filter((id) => !skipped.includes(id));
    const again = skipped.filter((id) => open.includes(id));
    return { next: [...waiting, ...again][0], voted, all: order.length,
      identical: pairs.length - different.length };
  }

  function record(vote, id, [left, right], note) {
    const seconds = Math.round((Date.now() - session.started) / 100) / 10;
    store.add({ version: VOTES_VERSION, time: new Date().toISOString(), rater: session.rater,
      id, left, right, vote, seed: state().seed, seconds, note });
  }

  function vote(verdict) {
    if (!session.id) return;
    const sides = sidesOf(state().a, state().b, session.id, state().seed);
    record(verdict, session.id, sides, byId("note").value.trim());
    session.last = { id: session.id, verdict, sides };
    session.id = null;
    redraw();
  }

  function skip() {
    if (!session.id) return;
    const place = skipped.indexOf(session.id);
    if (place >= 0) skipped.splice(place, 1);
    skipped.push(session.id);
    session.id = null;
    redraw();
  }

  function undo() {
    const voted = lastVotes(store.votes, session.rater, state().a, state().b);
    const last = [...voted.values()].sort((one, other) => (one.time < other.time ? 1 : -1))[0];
    if (!last) return;
    record("undo", last.id, [last.left, last.right], "");
    session.last = null;
    session.id = last.id;
    redraw();
  }

  function draw() {
    const { next, voted, all, identical } = queue();
    const id = session.id && !voted.has(session.id) ? session.id : next;
    if (session.id !== id) session.started = Date.now();
    session.id = id || null;
    return [drawProgress(voted.size, all, identical), drawReveal(), id ? drawBallot(id) : drawDone(),
      drawResults(voted), drawKeeping()];
  }

  function drawProgress(done, all, identical) {
    const rater = h("input", { id: "rater", value: session.rater, autocomplete: "off", onchange: (event) => {
      session.rater = event.target.value.trim();
      redraw();
    } });
    const reveal = h("input", { type: "checkbox", onchange: (event) => {
      session.reveal = event.target.checked;
      redraw();
    } });
    reveal.checked = session.reveal;
    const left = identical ? ` (${identical} identical pairs left out)` : "";
    return h("div", { class: "progress" }, h("label", {}, "Your name ", rater),
      h("progress", { max: all, value: done, "aria-label": "Judged" }),
      h("span", { role: "status" }, `${done} of ${all} judged${left}`),
      h("label", {}, reveal, " tell me after each vote"));
  }

  function drawReveal() {
    if (!session.reveal || !session.last) return null;
    const { id, verdict, sides } = session.last;
    const words = { left: `A, which is ${sides[0]}`, right: `B, which is ${sides[1]}`, tie: "a tie" };
    const judged = data.models.map((model) => {
      const pair = pairOf(id);
      const name = { a: state().a, b: state().b, tie: "a tie" }[winnerOf(pair, model)];
      return name ? `${model}: ${name}` : null;
    }).filter(Boolean).join(", ");
    return h("p", { class: "reveal", role: "status" },
      `Your last vote: ${words[verdict] || "both bad"}. ${judged ? `Scores say ${judged}.` : ""}`);
  }

  function pairOf(id) {
    const prompt = data.byId.get(id);
    return { prompt, a: prompt.answer(state().a), b: prompt.answer(state().b) };
  }

  function drawBallot(id) {
    const prompt = data.byId.get(id);
    const sides = sidesOf(state().a, state().b, id, state().seed);
    // plain: the colours of left and right in the filters would give the sides away
    const cards = sides.map((system, place) => h("article",
      { class: "answer plain", "aria-label": `Answer ${"AB"[place]}` },
      h("header", {}, h("strong", { class: "name" }, "AB"[place])), drawText(prompt.answer(system).text)));
    const question = { ...prompt, reference: null };
    return h("div", {}, drawPrompt(question, ""), h("div", { class: "pair" }, cards), drawButtons());
  }

  function drawButtons() {
    const button = (key, label, action) => h("button", { type: "button", onclick: action },
      h("kbd", {}, key), ` ${label}`);
    return h("div", { class: "ballot" },
      VERDICTS.map(([verdict, label], place) => button(place + 1, label, () => vote(verdict))),
      button("s", "Skip", skip), button("u", "Undo", undo),
      h("label", { class: "note" }, "Note ", h("input", { id: "note", maxlength: 2000, autocomplete: "off" })));
  }

  const drawDone = () => h("div", {}, h("p", { class: "legend" }, "Every pair is judged. Thank you."),
    h("div", { class: "ballot" }, h("button", { type: "button", onclick: undo }, h("kbd", {}, "u"), " Undo")));

  function drawResults(voted) {
    if (voted.size < ENOUGH_VOTES) {
      return h("p", { class: "legend" }, `Results are shown after ${ENOUGH_VOTES} votes.`);
    }
    const found = voteResults(voted, state().a, data);
    const judged = data.models.map((model) => {
      const { n, same, kappa } = agreementWith(found.winners, (id) => winnerOf(pairOf(id), model));
      return h("li", {}, `${model}: agrees in ${percent(same)} of ${n}, kappa ${number(kappa)}`);
    });
    return h("section", { class: "results", "aria-label": "Results" }, h("p", {},
      `By your ${found.n} votes ${state().a} wins ${number(found.rate, 3)} `
      + `[${number(found.low, 3)}, ${number(found.high, 3)}] against ${state().b}.`), h("ul", {}, judged));
  }

  const drawKeeping = () => h("p", { class: "legend" },
    store.kept ? "Votes are kept in this browser. " : "Votes are lost with this page: ",
    h("button", { type: "button", onclick: () => downloadVotes(store.votes, "votes.jsonl") },
      `Download ${store.votes.length} votes`));

  return { draw, vote, skip, undo };
}
