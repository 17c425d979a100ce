// The keyboard: what each key does, and the card that says so.
import { button, element } from "./elements.js";

const KEYS = [
  ["/", "type a query"],
  ["← → ↑ ↓", "go from moment to moment"],
  ["enter", "open the moment"],
  ["space", "play or pause it"],
  ["y, +", "it fits the query (again: take it back)"],
  ["n, −", "it doesn't fit"],
  ["l", "more like this"],
  ["j, k", "in the player: the next moment, the one before"],
  ["← →", "in the player: two seconds back, two on"],
  ["a", "in the player: the moment again"],
  ["esc", "close"],
  ["?", "these keys"],
];

/** Whether a key goes to what is being typed rather than to the page. */
export function typing(event) {
  const at = event.target;
  return event.ctrlKey || event.metaKey || event.altKey || at.matches?.("input:not([type=checkbox], [type=radio]), textarea, select");
}

/** The verdict that a key stands for, or 0. */
export function verdictOf(key) {
  return { y: 1, "+": 1, n: -1, "-": -1, "−": -1 }[key.toLowerCase()] ?? 0;
}

/** The card of all keys; it opens by ? and by the button in the header. */
export function explainKeys() {
  const close = button("Close", { symbol: "close", only: true, class: "quiet", onclick: () => card.close() });
  const rows = KEYS.map(([key, what]) => element("div", {}, element("dt", {}, element("kbd", {}, key)), element("dd", {}, what)));
  const card = element(
    "dialog",
    { class: "small", "aria-labelledby": "keys-title" },
    element("header", {}, element("h2", { id: "keys-title" }, "Keys"), close),
    element("dl", { class: "keys" }, rows),
  );
  document.body.append(card);
  document.getElementById("show-keys")?.addEventListener("click", () => card.showModal());
  document.addEventListener("keydown", (event) => {
    if (event.key === "?" && !typing(event) && !card.open) card.showModal();
  });
}

/** The card that lies next to `at` in a direction, as the eye sees them; null at the edge. */
export function neighbour(at, cards, key) {
  const place = cards.indexOf(at);
  if (key === "ArrowRight") return cards[place + 1] ?? null;
  if (key === "ArrowLeft") return cards[place - 1] ?? null;
  const from = at.getBoundingClientRect();
  const down = key === "ArrowDown";
  const far = (card) => {
    const to = card.getBoundingClientRect();
    const step = down ? to.top - from.top : from.top - to.top;
    return step > from.height / 2 ? step * 10 + Math.abs(to.left - from.left) : Infinity;
  };
  const best = cards.reduce((one, other) => (far(other) < far(one) ? other : one), at);
  return best === at ? null : best;
}
