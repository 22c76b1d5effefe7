// Votes of a blind reading: kept in this browser, downloadable as the JSON Lines of votes.py.

const VOTES_VERSION = 1;
const ENOUGH_VOTES = 20;

// Each vote has a key of its own, so that two tabs never overwrite each other. Inside a notebook
// there is no storage; votes then live as long as the page and are downloaded by hand.
function voteStore(page) {
  const prefix = `votes:${page}:`;
  const votes = [];
  const storage = storageOrNull();

  function load() {
    votes.length = 0;
    for (const key of Object.keys(storage || {}).filter((name) => name.startsWith(prefix))) {
      const vote = parsed(storage.getItem(key));
      if (vote && vote.vote) votes.push(vote);
    }
    votes.sort((one, other) => (one.time < other.time ? -1 : 1));
  }

  function add(vote) {
    votes.push(vote);
    if (storage) {
      storage.setItem(
        `${prefix}${vote.time}:${Math.random().toString(36).slice(2)}`,
        JSON.stringify(vote),
      );
    }
  }

  if (storage) {
    load();
    addEventListener("storage", load);
  }
  return { votes, add, kept: Boolean(storage) };
}

function storageOrNull() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

// The last word of one rater on each prompt for one pair of systems; an undone vote is none.
function lastVotes(votes, rater, a, b) {
  const last = new Map();
  for (const vote of votes) {
    const same = [vote.left, vote.right].sort().join("\n") === [a, b].sort().join("\n");
    if (!same || (vote.rater || "") !== rater) continue;
    if (vote.vote === "undo") last.delete(vote.id);
    else last.set(vote.id, vote);
  }
  return last;
}

// "a", "b" or "tie" of the two systems; "both bad" is a tie.
function humanWinner(vote, a) {
  if (vote.vote !== "left" && vote.vote !== "right") return "tie";
  return vote[vote.vote] === a ? "a" : "b";
}

function voteResults(votes, a) {
  const winners = [...votes.values()].map((vote) => [vote.id, humanWinner(vote, a)]);
  const count = (who) => winners.filter(([, winner]) => winner === who).length;
  return { ...winRate(count("a"), count("tie"), count("b")), winners };
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
