// Votes of a blind reading, where they are kept, and what they say. `votes.py` has the same lines.

const VOTES_VERSION = 1;
const ENOUGH_VOTES = 20; // before a rater sees results: earlier ones say nothing and would steer

// What is remembered from one visit to the next: in this browser, or as long as the page is open
// where there is no storage (in the sandboxed frame of a notebook).
function memoryOfBrowser() {
  const storage = storageOrNull();
  const kept = new Map();
  return {
    lasting: Boolean(storage),
    get: (name) => (storage ? storage.getItem(`viewer:${name}`) : kept.get(name)) ?? "",
    set: (name, value) =>
      storage ? storage.setItem(`viewer:${name}`, value) : kept.set(name, value),
  };
}

// Each vote has a key of its own, so that two tabs never overwrite each other.
function storeOfBrowser(key, memory) {
  const prefix = `votes:${key}:`;
  const votes = [];
  const storage = storageOrNull();

  function load() {
    votes.length = 0;
    for (const name of Object.keys(storage || {}).filter((one) => one.startsWith(prefix))) {
      const vote = parsed(storage.getItem(name));
      if (vote && vote.vote) votes.push(vote);
    }
    votes.sort((one, other) => (one.time < other.time ? -1 : 1));
  }

  function add(vote) {
    votes.push(vote);
    const name = `${prefix}${vote.time}:${Math.random().toString(36).slice(2)}`;
    if (storage) storage.setItem(name, JSON.stringify(vote));
  }

  if (storage) {
    load();
    addEventListener("storage", load);
  }
  const where = () =>
    memory.lasting ? "Votes are kept in this browser." : "Votes are lost with this page.";
  return { votes, add, where, file: `${key}.jsonl`, open: () => true };
}

function storageOrNull() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

const systemsOf = (vote) => [vote.left, vote.right].sort().join("\n");

// What stands: each rater's last word on each prompt and pair of systems; an undone vote is none.
function standingVotes(votes) {
  const last = new Map();
  for (const vote of votes) {
    const name = JSON.stringify([vote.rater || "", systemsOf(vote), vote.id]);
    last.delete(name); // so that the order is that of voting
    if (vote.vote !== "undo") last.set(name, vote);
  }
  return [...last.values()];
}

// Prompt id -> the standing vote of one rater on a and b.
function votesOn(votes, rater, a, b) {
  const wanted = systemsOf({ left: a, right: b });
  return new Map(
    standingVotes(votes)
      .filter((vote) => systemsOf(vote) === wanted && (vote.rater || "") === rater)
      .map((vote) => [vote.id, vote]),
  );
}

// "a", "b" or "tie" of the two systems; "both bad" is a tie.
function humanWinner(vote, a) {
  if (vote.vote !== "left" && vote.vote !== "right") return "tie";
  return vote[vote.vote] === a ? "a" : "b";
}

function voteResults(votes, a) {
  const winners = [...votes.values()].map((vote) => [vote.id, humanWinner(vote, a)]);
  const won = (who) => winners.filter(([, winner]) => winner === who).length;
  return { ...winRate(won("a"), won("tie"), won("b")), winners };
}

function agreementWith(winners, verdictOf) {
  const both = winners.map(([id, winner]) => [winner, verdictOf(id)]).filter(([, other]) => other);
  const same = both.filter(([one, other]) => one === other).length / both.length;
  const share = (side, label) => both.filter((row) => row[side] === label).length / both.length;
  const chance = ["a", "tie", "b"].reduce((sum, who) => sum + share(0, who) * share(1, who), 0);
  return { n: both.length, same, kappa: chance === 1 ? NaN : (same - chance) / (1 - chance) };
}

function downloadVotes(votes, name) {
  const lines = votes.map((vote) => `${JSON.stringify(vote)}\n`).join("");
  const url = URL.createObjectURL(new Blob([lines], { type: "application/jsonl" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
