// Asking the server.

/** What went wrong, in words for the reader, and what helps. `away`: the server did not answer at all. */
export class Failed extends Error {
  constructor(message, { remedy = "", code = "", status = 0 } = {}) {
    super(message);
    Object.assign(this, { remedy, code, status, away: status === 0 });
  }
}

const AWAY = { remedy: "Is `scriptsight page` still running? The page tries again by itself." };

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failed("The server doesn't answer.", AWAY);
  }
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  const about = said.empty ?? said;
  throw new Failed(about.error ?? about.message ?? `The server answered ${answer.status}.`, {
    remedy: about.remedy,
    code: about.code,
    status: answer.status,
  });
}

export function get(path, signal) {
  return ask(path, { signal });
}

export function post(path, body) {
  if (body instanceof FormData) return ask(path, { method: "POST", body });
  return ask(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
}

/** The path of a moment in a model's index. The slashes of a segment id are part of the path. */
export function momentPath(id, model = "") {
  const path = `/api/moment/${id.split("/").map(encodeURIComponent).join("/")}`;
  return model ? `${path}?model=${encodeURIComponent(model)}` : path;
}

/** The address of one of the eight pictures of a moment. */
export function picture(moment, number) {
  return `/strip/${moment.video}/${moment.start.toFixed(3)}-${moment.end.toFixed(3)}/${number}.jpg`;
}
