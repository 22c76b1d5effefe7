// Blind reading: two answers without names, four verdicts, then the next prompt.

const VERDICTS = [
  ["left", "A is better"],
  ["right", "B is better"],
  ["tie", "Tie"],
  ["both bad", "Both are bad"],
];

class Ballot {
  constructor(page) {
    Object.assign(this, {
      page,
      store: page.store,
      skipped: [],
      rater: page.memory.get("rater"),
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
    return votesOn(this.store.votes, this.rater, ...this.systems());
  }

  pairOf(id) {
    return pairOf(this.page.data.byId.get(id), ...this.systems());
  }

  sides(id) {
    return sidesOf(...this.systems(), id, this.page.state.seed);
  }

  // Pairs that differ, in the seed's order; those put off come last.
  queue(voted) {
    const pairs = pairsOf(this.page.data, ...this.systems());
    const different = pairs.filter((pair) => !pair.identical);
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
    if (!this.id || !this.store.open()) return;
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
    const last = [...this.voted().values()].at(-1);
    if (!last || !this.store.open()) return;
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
      id ? this.drawAnswers(id) : legend("Every pair is judged. Thank you."),
      this.drawButtons(id),
      this.drawResults(voted),
    ];
  }

  // Beside the answers: who votes, how far they are, and where the votes go.
  drawVoter() {
    const voted = this.voted();
    const { all, identical } = this.queue(voted);
    return [this.drawProgress(voted.size, all, identical), this.drawKeeping(voted.size)];
  }

  drawProgress(done, all, identical) {
    const tell = () => {
      this.reveal = !this.reveal;
      this.page.show();
    };
    const reveal = h("input", { type: "checkbox", checked: this.reveal, onchange: tell });
    const names = [...new Set(this.store.votes.map((vote) => vote.rater || ""))];
    const left = identical ? ` (${count(identical, "identical pair")} left out)` : "";
    const name = {
      id: "rater",
      value: this.rater,
      autocomplete: "off",
      list: "raters",
      onchange: (event) => this.rename(event.target.value.trim()),
    };
    return div(
      "progress",
      h("label", { for: "rater" }, "Your name"),
      h("input", name),
      h("datalist", { id: "raters" }, names.filter(Boolean).map((value) => h("option", { value }))),
      h("p", { role: "status" }, h("strong", {}, `${done} of ${all} judged`), left),
      h("progress", { max: all, value: done, "aria-label": "Judged" }),
      h("label", {}, reveal, " Tell me after each vote which was which"),
    );
  }

  // another rater begins at the first prompt of the seed's order
  rename(rater) {
    Object.assign(this, { rater, id: null, skipped: [] });
    this.page.memory.set("rater", rater);
    this.page.show();
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
      drawFrame("AB"[place], "plain", [], "", [], drawText(prompt.answer(system).text)),
    );
    return h("div", {}, drawPrompt({ ...prompt, reference: null }, ""), div("pair", cards));
  }

  drawButtons(id) {
    const press = (letter, label, action) =>
      button({ onclick: action, disabled: !this.store.open() }, key(letter), ` ${label}`);
    const undo = press("u", "Undo", () => this.undo());
    if (!id) return div("aside", undo);
    const note = {
      id: "note",
      value: this.note,
      maxlength: 2000,
      autocomplete: "off",
      placeholder: "optional",
      oninput: (event) => (this.note = event.target.value), // kept when the view is redrawn
    };
    const verdicts = VERDICTS.map(([verdict, label], place) =>
      press(`${place + 1}`, label, () => this.vote(verdict)),
    );
    const noted = h("label", { class: "note" }, "Note", h("input", note));
    const skip = press("s", "Skip", () => this.skip());
    return [div("ballot", verdicts), div("aside", noted, skip, undo)];
  }

  drawResults(voted) {
    if (voted.size < ENOUGH_VOTES) {
      return legend(`Results are shown after ${ENOUGH_VOTES} votes.`);
    }
    const [a, b] = this.systems();
    const found = voteResults(voted, a);
    const others = [
      ...this.page.data.models.map((model) => [model, (id) => winnerOf(this.pairOf(id), model)]),
      ...this.otherRaters(a),
    ];
    const judged = others
      .map(([name, winner]) => [name, agreementWith(found.winners, winner)])
      .filter(([, agreed]) => agreed.n)
      .map(([name, { same, n, kappa }]) =>
        h("li", {}, `${name} agrees in ${percent(same)} of ${n}, kappa ${number(kappa)}`),
      );
    return div(
      "results",
      h("p", {}, `By ${count(found.n, "vote")} ${inWords(found, a, b)}.`),
      h("ul", {}, judged),
      legend("kappa is agreement beyond chance: 1 is perfect, 0 is no better than guessing."),
    );
  }

  // [name, winner of a prompt] of each of the others who voted here on these two systems
  otherRaters(a) {
    const names = new Set(this.store.votes.map((vote) => vote.rater || ""));
    names.delete(this.rater);
    return [...names].map((name) => {
      const votes = votesOn(this.store.votes, name, ...this.systems());
      const winner = (id) => (votes.has(id) ? humanWinner(votes.get(id), a) : null);
      return [name || "who gave no name", winner];
    });
  }

  drawKeeping(mine) {
    const where = legend(this.store.where());
    if (!this.store.file) return where;
    const votes = standingVotes(this.store.votes);
    const others = votes.length > mine ? ", those of other raters and systems too" : "";
    where.append(
      button(
        { onclick: () => downloadVotes(votes, this.store.file), disabled: !votes.length },
        `Download ${count(votes.length, "vote")}`,
      ),
      `Put the file into the folder votes of the run${others}: the notebook's ballot then counts ` +
        "them.",
    );
    return where;
  }
}
