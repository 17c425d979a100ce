// The state of a page is its address: what can be shared, gone back to and bookmarked.

export const FILTERS = ["collection", "label", "language", "split"];
const WORDS = { q: "", like: "", clip: "", by: "picture", said: "", model: "", beside: "", open: "" };
export const TOP = 12;

/** The state that the query string of an address says. */
export function read(query = location.search) {
  const asked = new URLSearchParams(query);
  const state = {};
  for (const [name, usual] of Object.entries(WORDS)) state[name] = asked.get(name) ?? usual;
  for (const name of FILTERS) state[name] = asked.getAll(name);
  if (!["picture", "words", "both"].includes(state.by)) state.by = WORDS.by;
  const top = Number.parseInt(asked.get("top"), 10);
  state.top = top > 0 ? top : TOP;
  return state;
}

/** The query string of a state, without what is as usual. */
export function text(state) {
  const said = new URLSearchParams();
  for (const [name, usual] of Object.entries(WORDS)) if (state[name] && state[name] !== usual) said.append(name, state[name]);
  for (const name of FILTERS) for (const value of state[name]) said.append(name, value);
  if (state.top !== TOP) said.append("top", state.top);
  const query = said.toString();
  return query ? `?${query}` : "";
}

/** Whether the state asks for anything: a page without a query shows how to begin. */
export function asks(state) {
  return Boolean(state.q.trim() || state.like || state.clip || state.said.trim());
}

/** The part of the state that a score belongs to. */
export function query(state) {
  return text({ ...state, open: "", beside: "", top: TOP });
}
