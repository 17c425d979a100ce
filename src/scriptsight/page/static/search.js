// The search page: what is typed and chosen becomes the address, the address becomes a list of moments.
import { Failed, get, momentPath, post } from "./api.js";
import { asks, query, read, text, TOP } from "./address.js";
import { button, clock, counted, element, foreign, icon, tell } from "./elements.js";
import { chips, closeMenus, menus } from "./filters.js";
import { explainKeys, neighbour, typing, verdictOf } from "./keys.js";
import { Player } from "./player.js";
import { blank, card, rankIn, shares } from "./results.js";

const PAUSE = 180; // milliseconds without a key after which what is typed is searched for
const LOOK = 15000; // milliseconds between two looks whether the index is a new one
const RETRY = 3000; // the same where there is no index, or no server
const [BUSY, SECOND] = [503, 1000]; // the status of a server with too much to do, and how long to wait then
const LARGEST = 64 * 2 ** 20; // bytes of a clip, as the server has it

const find = (id) => document.getElementById(id);
const [form, box, results, about, notice, welcome] = ["ask", "q", "results", "about", "notice", "welcome"].map(find);

let state = read();
let known = null; // of /api/state
let shown = null; // the address that the list on the page answers
let lists = []; // of answers: one, or two side by side
let asking = new AbortController();
let pausing = null;
let typed = false; // whether the newest entry of the history is one that is being typed
let away = false; // whether the server didn't answer last time
let looking = null;
let like = null; // the moment that more are wanted of

const player = new Player({ closed: closePlayer, step: stepPlayer, like: (id) => moreLike(id) });

/** Change the state and all that shows it. `replace`: Back goes past this change. */
function change(news, { replace = false } = {}) {
  clearTimeout(pausing);
  state = { ...state, ...news };
  const address = `/${text(state)}`;
  if (address !== location.pathname + location.search) {
    if (replace) history.replaceState(history.state, "", address);
    else history.pushState({ ours: true }, "", address);
  }
  if (!replace) typed = false;
  show();
}

function show() {
  showForm();
  search();
  showPlayer();
}

// ---- what is asked

function showForm() {
  if (document.activeElement !== box) box.value = state.q; // what is being typed is newer than the state
  for (const choice of form.elements.by) {
    choice.checked = choice.value === state.by;
    choice.disabled = Boolean(state.like || state.clip) && choice.value !== "picture";
  }
  if (document.activeElement !== find("said")) find("said").value = state.said;
  showPill();
  find("chips").replaceChildren(...chips(state, (news) => change({ ...news, top: TOP })));
  showMenus();
  document.title = [state.q || (asks(state) ? "More like this" : ""), document.body.dataset.workspace].filter(Boolean).join(" · ");
}

function showMenus() {
  if (!known) return;
  const open = document.querySelector("details.menu[open]");
  // A menu in which something is being chosen stays as it is.
  if (open?.contains(document.activeElement)) return;
  find("menus").replaceChildren(...menus(known, state, (news) => change({ ...news, top: TOP })));
  const names = known.models.map((model) => model.name);
  find("models").hidden = names.length < 2;
  fill(find("model"), names.map((name) => [name, name]), state.model || names[0]);
  const others = names.filter((name) => name !== (state.model || names[0]));
  fill(find("beside"), [["", "nothing"], ...others.map((name) => [name, name])], state.beside);
}

function fill(select, choices, chosen) {
  select.replaceChildren(...choices.map(([value, words]) => element("option", { value }, words)));
  select.value = chosen;
}

/** What is asked for in other ways than words stands before the words. */
function showPill() {
  const drop = () => change({ like: "", clip: "", top: TOP });
  let words = "";
  if (state.clip) words = ["like the clip ", foreign(clipName())];
  else if (state.like) words = ["like ", foreign(like?.id === state.like ? `${like.title}, ${clock(like.start)}` : state.like)];
  find("pill").replaceChildren(
    ...(words ? [element("button", { type: "button", class: "chip", "aria-label": "Without the example", onclick: drop }, element("span", {}, words), icon("close"))] : []),
  );
  box.placeholder = words ? "or words instead" : "What should the video show?";
  if (state.like && like?.id !== state.like) {
    const wanted = state.like;
    get(momentPath(wanted)).then((moment) => {
      if (state.like !== wanted) return;
      like = moment;
      showPill();
    }, () => {});
  }
}

function clipName() {
  return sessionStorage.getItem(`clip ${state.clip}`) ?? "";
}

function moreLike(id) {
  box.value = "";
  change({ q: "", clip: "", like: id, by: "picture", open: "", top: TOP });
  scrollTo({ top: 0, behavior: "instant" });
}

box.addEventListener("input", () => {
  clearTimeout(pausing);
  pausing = setTimeout(() => {
    const replace = typed;
    change({ q: box.value, ...(box.value ? { like: "", clip: "" } : {}), top: TOP }, { replace });
    typed = true;
  }, PAUSE);
});
box.addEventListener("keydown", (event) => {
  if (event.key === "Backspace" && !box.value && (state.like || state.clip)) change({ like: "", clip: "", top: TOP });
  if (event.key === "ArrowDown") firstCard()?.focus();
});
find("said").addEventListener("change", (event) => change({ said: event.target.value.trim(), top: TOP }));
form.addEventListener("change", (event) => {
  if (event.target.name === "by") change({ by: event.target.value, top: TOP });
  if (["model", "beside"].includes(event.target.name)) {
    const news = { [event.target.name]: event.target.value };
    if (news.model === state.beside) news.beside = "";
    change(news);
  }
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  change({ q: box.value, ...(box.value ? { like: "", clip: "" } : {}) }, { replace: typed });
  typed = false;
});

// ---- a clip as a question

find("clip").addEventListener("click", () => find("clip-file").click());
find("clip-file").addEventListener("change", (event) => upload(event.target.files[0]));
document.addEventListener("dragover", (event) => {
  if (![...event.dataTransfer.types].includes("Files")) return;
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dropping"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  upload(event.dataTransfer.files[0]);
});

async function upload(file) {
  find("clip-file").value = "";
  if (!file) return;
  if (file.size > LARGEST) {
    tell(`This clip is larger than ${LARGEST / 2 ** 20} MB: cut out the part that you are looking for.`);
    return;
  }
  results.setAttribute("aria-busy", "true");
  about.textContent = "Looking at the clip …";
  const body = new FormData();
  body.append("clip", file);
  try {
    const { clip, name, seconds } = await post("/api/clip", body);
    sessionStorage.setItem(`clip ${clip}`, `${name} (${clock(seconds)})`);
    box.value = "";
    change({ q: "", like: "", clip, by: "picture", open: "", top: TOP });
  } catch (error) {
    results.removeAttribute("aria-busy");
    about.textContent = "";
    warn(error);
  }
}

// ---- the list

async function search() {
  const address = query(state) + state.top + state.beside;
  if (address === shown) return;
  shown = address;
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  welcome.hidden = asks(state);
  if (!asks(state)) {
    lists = [];
    results.replaceChildren();
    about.replaceChildren();
    if (!known?.empty) notice.replaceChildren();
    return;
  }
  waiting();
  try {
    const models = [state.model, ...(state.beside ? [state.beside] : [])];
    const answers = await Promise.all(models.map((model) => answer(model, signal)));
    if (signal.aborted) return;
    lists = answers;
    showResults();
  } catch (error) {
    if (signal.aborted) return;
    shown = null;
    if (error.status === BUSY) {
      setTimeout(() => signal.aborted || search(), SECOND);
      return;
    }
    lists = [];
    results.replaceChildren();
    about.replaceChildren();
    warn(error);
  } finally {
    if (!signal.aborted) results.removeAttribute("aria-busy");
  }
}

/** What a model finds. A second model that can't be asked leaves the first one's list as it is. */
async function answer(model, signal) {
  try {
    return await get(`/api/search${text({ ...state, model, beside: "", open: "" })}`, signal);
  } catch (error) {
    if (!model || model !== state.beside || error.name === "AbortError") throw error;
    return { model, moments: [], message: error.message, remedy: error.remedy };
  }
}

/** The old list stays, paler, until the new one is there; the first time, empty cards take the room. */
function waiting() {
  results.setAttribute("aria-busy", "true");
  if (!results.childElementCount) {
    const list = element("div", { class: "cards" }, Array.from({ length: 8 }, blank));
    results.replaceChildren(element("div", { class: "column" }, list));
  }
}

function showResults() {
  const focused = document.activeElement?.dataset?.open;
  results.classList.toggle("beside", lists.length > 1);
  results.replaceChildren(...lists.map(column));
  notice.replaceChildren(...remarks());
  const videos = new Set(moments().map((moment) => moment.video)).size;
  const seconds = Math.max(...lists.map((list) => list.seconds ?? 0));
  about.textContent = videos
    ? `${counted(lists[0].moments.length, "moment")} in ${counted(videos, "video")}${took(seconds)}${legend()}`
    : "";
  if (focused) links().find((link) => link.dataset.open === focused)?.focus();
}

function took(seconds) {
  return seconds ? ` · ${Math.max(1, Math.round(1000 * seconds)).toLocaleString("en")} ms` : "";
}

function column(answer, number) {
  const { moments } = answer;
  const other = lists.length > 1 ? lists[1 - number] : null;
  const part = shares(moments);
  const cards = moments.map((moment, place) =>
    element(
      "li",
      {},
      card(moment, {
        state,
        model: answer.model,
        rank: place + 1,
        share: hasScores(answer) ? part[place] : null,
        also: other && { name: other.model, place: rankIn(other.moments, moment) },
      }),
    ),
  );
  const heading = element("h2", { class: lists.length > 1 ? "model" : "unseen" }, lists.length > 1 ? ["Model ", foreign(answer.model)] : "Moments");
  const more = answer.more
    ? button("Show more", { class: "more", onclick: () => change({ top: state.top + TOP }, { replace: true }) })
    : null;
  const none = moments.length ? null : nothing(answer);
  return element("div", { class: "column" }, heading, none ?? element("ol", { class: "cards" }, cards), more);
}

/** What the numbers of the cards say. */
function legend() {
  const scored = lists.find(hasScores);
  if (scored) return " · score: how alike picture and query are (cosine); bars compare a list's moments";
  return lists[0].moments[0]?.score_kind === "rank" ? " · the best first; a place in rankings has no score of its own" : "";
}

/** Places in joined rankings have no scores of their own, and scores that are all alike tell nothing. */
function hasScores(answer) {
  return answer.tells !== false && answer.moments[0]?.score_kind === "cosine";
}

function nothing(answer) {
  return element(
    "div",
    { class: "empty" },
    icon("nothing"),
    element("p", { class: "lead" }, answer.message || "No moment was found."),
    element("p", {}, answer.remedy || "Other words may find more."),
  );
}

/** What has to be said of a list that is there. */
function remarks() {
  return lists.filter((list) => list.moments.length && list.message).map((list) => remark(list.message, list.remedy));
}

function remark(message, remedy) {
  return element("div", { class: "remark", role: "status" }, element("p", {}, message), remedy ? element("p", { class: "faint" }, remedy) : null);
}

/** What went wrong, in the place of the list. */
function warn(error) {
  if (!(error instanceof Failed)) throw error;
  away = error.away;
  lookAgain();
  if (error.code) {
    known = null; // what it said holds no more
    showEmpty({ message: error.message, remedy: error.remedy });
    return;
  }
  const again = button("Try again", { onclick: start });
  notice.replaceChildren(
    element("div", { class: "remark bad", role: "alert" }, element("p", {}, error.message), error.remedy ? element("p", {}, error.remedy) : null, error.away ? again : null),
  );
}

// ---- nothing to search yet

function showEmpty({ message, remedy }) {
  welcome.hidden = true;
  notice.replaceChildren(
    element(
      "div",
      { class: "empty", role: "status" },
      icon("nothing"),
      element("p", { class: "lead" }, message),
      remedy ? element("p", {}, element("code", {}, remedy)) : null,
      element("p", { class: "faint" }, "This page looks again by itself."),
    ),
  );
}

function showWelcome() {
  const [model] = known.models;
  const size = model.ready ? `${counted(model.moments, "moment")} of ${counted(model.videos, "video")} can be found.` : "";
  const examples = known.examples.map((words) =>
    element("a", { class: "example", href: `/${text({ ...state, q: words })}`, "data-example": words }, foreign(words)),
  );
  welcome.replaceChildren(
    element("p", { class: "lead" }, size),
    examples.length ? element("p", { class: "faint" }, "For example:") : "",
    element("div", { class: "examples" }, examples),
  );
  welcome.hidden = asks(state) || Boolean(known.empty);
}

/** Ask what there is to search, and show it where it is another state than before. */
async function start() {
  try {
    const news = await get("/api/state");
    if (!away && JSON.stringify(news) === JSON.stringify(known)) return;
    if (known && known.version !== news.version && !known.empty) tell("The index has changed: this is the new one.");
    known = news;
    away = false;
    shown = null;
    if (known.empty) {
      showEmpty(known.empty);
      return;
    }
    about.textContent = "";
    notice.replaceChildren();
    showWelcome();
    show();
  } catch (error) {
    warn(error);
  } finally {
    lookAgain();
  }
}

/** Soon where there is nothing to search, else now and then; never while something is watched. */
function lookAgain() {
  clearTimeout(looking);
  const watching = () => document.hidden || player.id;
  looking = setTimeout(() => (watching() ? lookAgain() : start()), away || !known || known.empty ? RETRY : LOOK);
}

// ---- the player

async function showPlayer() {
  const wanted = state.open;
  if (wanted === player.id) return;
  if (!wanted) {
    const closed = player.id;
    player.close();
    links().find((link) => link.dataset.open === closed)?.focus();
    return;
  }
  const models = [state.model || known?.models[0]?.name || "", ...(state.beside ? [state.beside] : [])];
  try {
    const moment = moments().find((one) => one.id === wanted) ?? (await fetched(wanted, models));
    if (state.open === wanted && player.id !== wanted) player.open(moment, state, models);
  } catch (error) {
    warn(error);
  }
}

/** A moment that no list has, asked of each model: their indexes may be of different videos. */
async function fetched(id, models) {
  const asked = models.map(async (model) => ({ ...(await get(momentPath(id, model))), model }));
  return Promise.any(asked).catch((error) => Promise.reject(error.errors[0]));
}

function moments() {
  return lists.flatMap((list) => list.moments.map((moment) => ({ ...moment, model: list.model })));
}

function openPlayer(id) {
  state = { ...state, open: id };
  history.pushState({ ours: true, opened: true }, "", `/${text(state)}`);
  typed = false;
  showPlayer();
}

/** Closing goes back to where the player was opened from, so that Back doesn't open it again. */
function closePlayer() {
  if (history.state?.opened) history.back();
  else change({ open: "" });
}

function stepPlayer(step) {
  const all = lists.map((list) => list.moments).find((one) => one.some(({ id }) => id === state.open)) ?? [];
  const next = all[all.findIndex((one) => one.id === state.open) + step];
  if (!next) {
    tell(step > 0 ? "This is the last moment of the list." : "This is the first moment of the list.");
    return;
  }
  state = { ...state, open: next.id };
  history.replaceState(history.state, "", `/${text(state)}`);
  showPlayer();
}

// ---- pointer and keyboard

document.addEventListener("click", (event) => {
  if (event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const at = event.target.closest("[data-open], [data-like], [data-example]");
  if (!at) return;
  event.preventDefault();
  if (at.dataset.open) openPlayer(at.dataset.open);
  else if (at.dataset.like) moreLike(at.dataset.like);
  else change({ q: at.dataset.example, like: "", clip: "", top: TOP });
});

function links() {
  return [...results.querySelectorAll("a.title")];
}

function firstCard() {
  return links()[0];
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target === box) box.blur();
  if (typing(event) || document.querySelector("dialog[open]")) return;
  const at = event.target.closest?.(".card");
  if (event.key === "/") {
    event.preventDefault();
    box.focus();
    box.select();
  } else if (event.key.startsWith("Arrow")) {
    const cards = [...results.querySelectorAll("article.card")];
    const next = at ? neighbour(at, cards, event.key) : event.target === document.body ? cards[0] : null;
    if (!next && !at) return;
    event.preventDefault();
    if (next) next.querySelector("a.title").focus();
    else if (event.key === "ArrowUp") box.focus();
  } else if (at && event.key === " " && event.target.matches("a.title")) {
    event.preventDefault();
    at.toggle();
  } else if (at && verdictOf(event.key)) {
    at.querySelector(".thumbs")?.judge(verdictOf(event.key));
  } else if (at && event.key === "l") {
    moreLike(at.dataset.id);
  } else if (event.key === "Escape") {
    closeMenus();
  }
});

addEventListener("popstate", () => {
  state = read();
  typed = false;
  box.blur();
  closeMenus();
  show();
});

explainKeys();
showForm();
if (asks(state)) waiting();
about.textContent = "Opening the index …";
start();
