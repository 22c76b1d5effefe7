// Blind reading: two answers without names, four verdicts, then the next prompt.

const VERDICTS = [
  ["left", "A is better"],
  ["right", "B is better"],
  ["tie", "Tie"],
  ["both bad", "Both are bad"],
];

class Ballot {
  constructor(page, store) {
    Object.assign(this, {
      page,
      store,
      skipped: [],
      rater: "",
      note: "",
      reveal: false,
      last: null,
      id: null,
      shownAt: Date.now(),
    });
  }

  systems() {
    return [this.page.state.a, this.page.state.b];
  }

  voted() {
    return lastVotes(this.store.votes, this.rater, ...this.systems());
  }

  pairOf(id) {
    const prompt = this.page.data.byId.get(id);
    const [a, b] = this.systems().map((system) => prompt.answer(system));
    return { prompt, a, b };
  }

  sides(id) {
    return sidesOf(...this.systems(), id, this.page.state.seed);
  }

  // Pairs that differ, in the seed's order; those put off come last.
  queue(voted) {
    const pairs = pairsOf(this.page.data, ...this.systems());
    const different = pairs.filter((pair) => pair.a.text !== pair.b.text);
    const order = shuffled(
      different.map((pair) => pair.prompt.id),
      this.page.state.seed,
    );
    const open = order.filter((id) => !voted.has(id));
    const later = this.skipped.filter((id) => open.includes(id));
    const next = [...open.filter((id) => !this.skipped.includes(id)), ...later];
    return { next, all: order.length, identical: pairs.length - different.length };
  }

  record(vote, id, [left, right], note) {
    const seconds = Math.round((Date.now() - this.shownAt) / 100) / 10;
    this.store.add({
      version: VOTES_VERSION,
      time: new Date().toISOString(),
      rater: this.rater,
      id,
      left,
      right,
      vote,
      seed: this.page.state.seed,
      seconds,
      note,
    });
  }

  vote(verdict) {
    if (!this.id) return;
    this.record(verdict, this.id, this.sides(this.id), this.note.trim());
    this.last = { id: this.id, verdict };
    this.id = null;
    this.note = "";
    this.page.show();
  }

  skip() {
    if (!this.id) return;
    this.skipped = [...this.skipped.filter((id) => id !== this.id), this.id];
    this.id = null;
    this.page.show();
  }

  undo() {
    const last = [...this.voted().values()].sort((one, other) =>
      one.time < other.time ? 1 : -1,
    )[0];
    if (!last) return;
    this.record("undo", last.id, [last.left, last.right], "");
    this.last = null;
    this.id = last.id;
    this.page.show();
  }

  draw() {
    const voted = this.voted();
    const { next } = this.queue(voted);
    const id = next.includes(this.id) ? this.id : next[0] || null;
    if (this.id !== id) this.shownAt = Date.now();
    this.id = id;
    return [
      this.drawReveal(),
      id ? this.drawAnswers(id) : h("p", { class: "legend" }, "Every pair is judged. Thank you."),
      this.drawButtons(id),
      this.drawResults(voted),
    ];
  }

  // Beside the answers: who votes, how far they are, and where the votes go.
  drawVoter() {
    const voted = this.voted();
    const { all, identical } = this.queue(voted);
    return [this.drawProgress(voted.size, all, identical), this.drawKeeping()];
  }

  drawProgress(done, all, identical) {
    const set = (changes) => {
      Object.assign(this, changes);
      this.page.show();
    };
    const reveal = h("input", {
      type: "checkbox",
      onchange: (event) => set({ reveal: event.target.checked }),
    });
    reveal.checked = this.reveal;
    const left = identical ? ` (${identical} identical pairs left out)` : "";
    return h(
      "div",
      { class: "progress" },
      h(
        "label",
        { class: "rater" },
        "Your name",
        h("input", {
          value: this.rater,
          autocomplete: "off",
          // another rater begins at the first prompt of the seed's order
          onchange: (event) => set({ rater: event.target.value.trim(), id: null, skipped: [] }),
        }),
      ),
      h("p", { role: "status" }, h("strong", {}, `${done} of ${all} judged`), left),
      h("progress", { max: all, value: done, "aria-label": "Judged" }),
      h("label", {}, reveal, " Tell me after each vote which was which"),
    );
  }

  drawReveal() {
    if (!this.reveal || !this.last) return null;
    const [left, right] = this.sides(this.last.id);
    const [a, b] = this.systems();
    const verdict = VERDICTS.find(([name]) => name === this.last.verdict)[1];
    const scores = this.page.data.models.map((model) => {
      const winner = winnerOf(this.pairOf(this.last.id), model);
      return `${model}: ${{ a, b, tie: "tie" }[winner] || "not scored"}`;
    });
    return h(
      "p",
      { class: "reveal", role: "status" },
      `A was ${left}, B was ${right}; your vote: ${verdict}. ${scores.join(", ")}`,
    );
  }

  // plain: the colours of left and right in the filters would give the sides away
  drawAnswers(id) {
    const { prompt } = this.pairOf(id);
    const cards = this.sides(id).map((system, place) =>
      h(
        "article",
        { class: "answer plain", "aria-label": `Answer ${"AB"[place]}` },
        h("header", {}, h("strong", { class: "name" }, "AB"[place])),
        drawText(prompt.answer(system).text),
      ),
    );
    return h(
      "div",
      {},
      drawPrompt({ ...prompt, reference: null }, ""),
      h("div", { class: "pair" }, cards),
    );
  }

  drawButtons(id) {
    const button = (key, label, action) =>
      h("button", { type: "button", onclick: action }, h("kbd", {}, key), ` ${label}`);
    const undo = button("u", "Undo", () => this.undo());
    if (!id) return h("div", { class: "aside" }, undo);
    return [
      h(
        "div",
        { class: "ballot" },
        VERDICTS.map(([verdict, label], place) =>
          button(place + 1, label, () => this.vote(verdict)),
        ),
      ),
      h(
        "div",
        { class: "aside" },
        h(
          "label",
          { class: "note" },
          "Note",
          h("input", {
            id: "note",
            value: this.note,
            maxlength: 2000,
            autocomplete: "off",
            placeholder: "optional",
            oninput: (event) => (this.note = event.target.value), // kept when the view is redrawn
          }),
        ),
        button("s", "Skip", () => this.skip()),
        undo,
      ),
    ];
  }

  drawResults(voted) {
    if (voted.size < ENOUGH_VOTES) {
      return h("p", { class: "legend" }, `Results are shown after ${ENOUGH_VOTES} votes.`);
    }
    const [a, b] = this.systems();
    const found = voteResults(voted, a);
    const others = [
      ...this.page.data.models.map((model) => [model, (id) => winnerOf(this.pairOf(id), model)]),
      ...this.otherRaters(a),
    ];
    const judged = others.map(([name, winner]) => {
      const agreed = agreementWith(found.winners, winner);
      return agreed.n
        ? h(
            "li",
            {},
            `${name} agrees in ${percent(agreed.same)} of ${agreed.n}, ` +
              `kappa ${number(agreed.kappa)}`,
          )
        : null;
    });
    return h(
      "section",
      { class: "results", "aria-label": "Results" },
      h(
        "p",
        {},
        `By ${found.n} votes ${a} wins ${number(found.rate, 3)} ` +
          `[${number(found.low, 3)}, ${number(found.high, 3)}] against ${b}.`,
      ),
      h("ul", {}, judged),
    );
  }

  // [name, winner of a prompt] of each of the others who voted here on these two systems
  otherRaters(a) {
    const names = new Set(this.store.votes.map((vote) => vote.rater || ""));
    names.delete(this.rater);
    return [...names].map((name) => {
      const votes = lastVotes(this.store.votes, name, ...this.systems());
      const winner = (id) => (votes.has(id) ? humanWinner(votes.get(id), a) : null);
      return [name || "who gave no name", winner];
    });
  }

  drawKeeping() {
    const { votes, kept } = this.store;
    return h(
      "p",
      { class: "legend" },
      kept ? "Votes are kept in this browser. " : "Votes are lost with this page: ",
      h(
        "button",
        { type: "button", onclick: () => downloadVotes(votes, "votes.jsonl") },
        `Download ${votes.length} votes`,
      ),
    );
  }
}
