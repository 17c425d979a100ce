// The player: it jumps to a moment, plays it and stops at its end; beside it the transcript, under it the score.
import { Failed, get, momentPath, picture } from "./api.js";
import { asks, query } from "./address.js";
import { curve } from "./curve.js";
import { button, clock, element, foreign, span } from "./elements.js";
import { thumbs } from "./judge.js";
import { typing, verdictOf } from "./keys.js";
import { copy } from "./results.js";

const AGAIN = 700; // milliseconds between two questions whether a video is prepared
const EASE = 0.3; // seconds around a moment that count as in it, when someone jumps
const LOOSE = 0.05; // seconds by which times are taken for the same: jumps end a little off
const STEP = 2; // seconds that an arrow key goes
const REST = 4000; // milliseconds for which the transcript stays where a reader has scrolled it

const faint = (words) => element("p", { class: "faint" }, words);
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

export class Player {
  #dialog;
  #video;
  #parts = {};
  #moment = null;
  #piece = null; // of /api/player: what is loaded
  #encoded = false; // whether the browser gave up on the file itself, and gets it encoded
  #stopAt = null; // second of the video at which playing ends; null: plays on
  #work = new AbortController();
  #scrolled = 0; // when the reader moved the transcript
  #line = null;
  #curve = null;

  /** `closed()`, `like(id)` and, where there is a list, `step(+1 or -1)` are called when the reader wants that. */
  constructor({ closed, step, like }) {
    this.callbacks = { closed, step, like };
    this.#build();
    document.body.append(this.#dialog);
  }

  get id() {
    return this.#moment?.id ?? "";
  }

  /**
   * Show a moment (of /api/search or /api/moment) that `moment.model` found for `state`; the score over its video is
   * that of each of `models`.
   */
  open(moment, state, models) {
    this.#work.abort();
    this.#work = new AbortController();
    const { signal } = this.#work;
    Object.assign(this, { state, models });
    this.#moment = moment;
    this.#piece = this.#curve = this.#line = null;
    this.#encoded = false;
    this.#head();
    this.#parts.transcript.replaceChildren(faint("Reading the transcript …"));
    this.#parts.score.replaceChildren(faint("Looking at the whole video …"));
    this.#parts.score.hidden = !asks(state);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#dialog.focus();
    this.#try(this.#load(moment.start, signal), (error) => this.#say(error.message, error.remedy));
    this.#try(this.#transcribe(signal), (error) => this.#parts.transcript.replaceChildren(faint(error.message)));
    if (asks(state)) this.#try(this.#score(signal), (error) => this.#parts.score.replaceChildren(faint(error.message)));
  }

  /** Do a part of the work; what goes wrong is told, unless it is no longer wanted. */
  #try(work, fail) {
    const { signal } = this.#work;
    work.catch((error) => signal.aborted || fail(error));
  }

  close() {
    this.#work.abort();
    this.#moment = null;
    this.#video.pause();
    this.#video.removeAttribute("src");
    this.#video.load();
    if (this.#dialog.open) this.#dialog.close();
  }

  #build() {
    const video = element("video", { controls: true, playsinline: true, preload: "auto", "aria-label": "The video" });
    const over = element(
      "div",
      { class: "over", hidden: true },
      button("Again", { symbol: "again", onclick: () => this.#again() }),
      button("Go on", { symbol: "play", onclick: () => this.#on() }),
    );
    const notice = element("div", { class: "notice", role: "status", hidden: true });
    const [title, tools] = [element("div", { class: "about" }), element("div", { class: "tools" })];
    const transcript = element("div", { class: "transcript", tabindex: "0", role: "region", "aria-label": "Transcript" });
    const score = element("div", { class: "score-place" });
    Object.assign(this.#parts, { over, notice, title, tools, transcript, score });
    this.#video = video;
    this.#dialog = element(
      "dialog",
      { class: "player", tabindex: "-1", "aria-labelledby": "player-title" },
      element(
        "header",
        {},
        title,
        element(
          "div",
          { class: "buttons" },
          this.callbacks.step && [
            button("The moment before (k)", { symbol: "before", only: true, class: "quiet", onclick: () => this.callbacks.step(-1) }),
            button("The next moment (j)", { symbol: "next", only: true, class: "quiet", onclick: () => this.callbacks.step(1) }),
          ],
          button("Close", { symbol: "close", only: true, class: "quiet close", onclick: () => this.callbacks.closed() }),
        ),
      ),
      element(
        "div",
        { class: "stage" },
        element("div", { class: "screen" }, video, over, notice),
        tools,
        score,
      ),
      transcript,
    );
    this.#listen();
  }

  #listen() {
    const video = this.#video;
    const dialog = this.#dialog;
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.callbacks.closed();
    });
    dialog.addEventListener("click", (event) => event.target === dialog && this.callbacks.closed());
    dialog.addEventListener("keydown", (event) => this.#key(event), { capture: true });
    video.addEventListener("play", () => {
      if (this.#stands()) this.#stopAt = null; // the browser's own play button, pressed at the end: on it goes
      this.#parts.over.hidden = true;
      this.#watch();
    });
    video.addEventListener("timeupdate", () => this.#tick());
    video.addEventListener("seeking", () => this.#left());
    video.addEventListener("ended", () => this.#ended());
    video.addEventListener("error", () => video.getAttribute("src") && this.#failed());
    for (const kind of ["wheel", "touchmove", "keydown"]) {
      this.#parts.transcript.addEventListener(kind, () => (this.#scrolled = Date.now()), { passive: true });
    }
  }

  #head() {
    const moment = this.#moment;
    const { title, tools } = this.#parts;
    title.replaceChildren(
      element("h2", { id: "player-title", title: moment.title }, foreign(moment.title || moment.uri)),
      element("p", { class: "faint" }, span(moment), moment.collection && [" · ", foreign(moment.collection)], moment.label && [" · ", foreign(moment.label)]),
    );
    const pair = thumbs(moment, this.state, moment.model);
    tools.replaceChildren(
      ...[
        button("Play the moment", { symbol: "again", onclick: () => this.#again() }),
        pair,
        button("More like this", { symbol: "like", class: "quiet", onclick: () => this.callbacks.like(moment.id) }),
        button("Copy the link", { symbol: "link", class: "quiet", onclick: () => copy(new URL(location.href)) }),
      ].filter(Boolean),
    );
    this.pair = pair;
    this.#video.poster = picture(moment, 0);
  }

  /** The browser can't play the file: ask for it encoded, once. */
  #failed() {
    if (this.#encoded) {
      this.#say("This browser can't play the video.", "The pictures and the transcript are all that can be shown here.");
      return;
    }
    this.#encoded = true;
    const at = Math.max(this.#now(), this.#moment.start);
    this.#try(this.#load(at, this.#work.signal, this.#stopAt), (error) => this.#say(error.message, error.remedy));
  }

  /** Load what covers the second `at` of the video, and stand there. */
  async #load(at, signal, stopAt = this.#moment.end) {
    const path = `/api/player/${this.#moment.video}?at=${at.toFixed(3)}${this.#encoded ? "&failed=1" : ""}`;
    let piece = await get(path, signal);
    while (piece.status === "preparing") {
      this.#prepare(piece.progress ?? 0);
      await wait(AGAIN);
      piece = await get(path, signal);
    }
    if (piece.status !== "ready") throw new Failed(piece.message, { remedy: piece.remedy });
    this.#say(piece.message, piece.remedy, true);
    this.#piece = piece;
    this.#stopAt = stopAt;
    const video = this.#video;
    if (new URL(piece.src, location).href !== video.src) {
      video.src = piece.src;
      await new Promise((done) => video.addEventListener("loadedmetadata", done, { once: true, signal }));
    }
    signal.throwIfAborted();
    if (this.#piece !== piece) return; // another was loaded meanwhile
    this.#curve?.stand(at);
    video.currentTime = Math.max(0, at - piece.offset);
    // A browser may refuse to play before the reader has touched the page: the moment then stands there, ready.
    await video.play().catch(() => {});
  }

  #prepare(progress) {
    const bar = element("progress", { max: "1", value: String(progress), "aria-label": "Preparing the video" });
    this.#parts.notice.replaceChildren(element("p", {}, `Preparing the video: ${Math.round(100 * progress)}%`), bar);
    this.#parts.notice.classList.remove("brief");
    this.#parts.notice.hidden = false;
  }

  /** Say something over the picture (`brief`: under it, while the video plays), or nothing any more. */
  #say(message, remedy = "", brief = false) {
    const { notice } = this.#parts;
    notice.hidden = !message;
    notice.classList.toggle("brief", brief);
    notice.replaceChildren(element("p", { dir: "auto" }, message ?? ""), remedy ? element("p", { class: "faint" }, remedy) : "");
  }

  async #transcribe(signal) {
    const found = this.#moment.transcript ? this.#moment : await get(momentPath(this.#moment.id, this.#moment.model), signal);
    const lines = found.transcript ?? [];
    const { transcript } = this.#parts;
    this.lines = lines.map((cue) => this.#lineOf(cue));
    transcript.replaceChildren(...(lines.length ? this.lines : [faint("Nothing is said in this video.")]));
    this.#follow(this.#moment.start, true);
  }

  #lineOf(cue) {
    const inside = cue.start < this.#moment.end && cue.end > this.#moment.start;
    const made = element(
      "button",
      { type: "button", class: inside ? "line inside" : "line", onclick: () => this.#seek(cue.start) },
      element("span", { class: "time" }, clock(cue.start)),
      foreign(cue.text, { class: "text" }),
    );
    return Object.assign(made, { start: cue.start, end: cue.end });
  }

  async #score(signal) {
    const asked = this.models.map(async (model) => {
      const about = query({ ...this.state, model: model ?? "" });
      return { name: model, ...(await get(`/api/curve/${this.#moment.video}${about}`, signal)) };
    });
    const found = (await Promise.allSettled(asked)).filter((one) => one.status === "fulfilled" && one.value.times.length);
    signal.throwIfAborted();
    const curves = found.map((one) => one.value);
    if (!curves.length) {
      this.#parts.score.replaceChildren(faint("There is no score over the whole video."));
      return;
    }
    const duration = Math.max(this.#piece?.duration ?? 0, this.#moment.end, ...curves.map((one) => one.end.at(-1)));
    this.#curve = curve(curves, this.#moment, duration, (second) => this.#seek(second));
    this.#parts.score.replaceChildren(this.#curve);
  }

  #now() {
    return this.#video.currentTime + (this.#piece?.offset ?? 0);
  }

  /** Jump to a second of the video; another piece of it is loaded where this one ends. */
  #seek(second) {
    const piece = this.#piece;
    if (!piece) return;
    second = Math.min(second, Math.max(0, piece.duration - LOOSE));
    const inside = second >= this.#moment.start - EASE && second < this.#moment.end;
    const stopAt = inside ? this.#moment.end : null;
    if (second < piece.from || second >= piece.to) {
      this.#try(this.#load(second, this.#work.signal, stopAt), (error) => this.#say(error.message, error.remedy));
      return;
    }
    this.#stopAt = stopAt;
    this.#video.currentTime = second - piece.offset;
    this.#video.play().catch(() => {});
  }

  #again() {
    this.#seek(this.#moment.start);
  }

  #toggle() {
    if (!this.#video.paused) this.#video.pause();
    else if (this.#stands()) this.#again();
    else this.#video.play().catch(() => {});
  }

  /** Whether the moment has been played to its end, where the video was stopped. */
  #stands() {
    return this.#stopAt !== null && this.#now() >= this.#stopAt - LOOSE;
  }

  #on() {
    this.#stopAt = null;
    if (this.#video.ended) this.#seek(this.#now());
    else this.#video.play().catch(() => {});
  }

  /** Who jumps out of the moment by the player's own bar wants to see more than the moment. */
  #left() {
    const now = this.#now();
    if (this.#stopAt !== null && (now < this.#moment.start - EASE || now > this.#moment.end + EASE)) this.#stopAt = null;
  }

  /** Look at every picture that is shown: the events of a video come four times a second, too seldom to stop in time. */
  #watch() {
    if (this.#video.paused || !this.#moment) return;
    this.#tick();
    requestAnimationFrame(() => this.#watch());
  }

  #tick() {
    if (!this.#piece || !this.#moment) return;
    const now = this.#now();
    if (this.#stopAt !== null && now >= this.#stopAt && !this.#video.paused) {
      this.#video.pause();
      this.#video.currentTime = this.#stopAt - this.#piece.offset;
      this.#parts.over.hidden = false;
    }
    this.#curve?.stand(now);
    this.#follow(now);
  }

  #ended() {
    const { to, duration } = this.#piece ?? {};
    if (this.#stopAt === null && to < duration - 0.1) this.#seek(to);
    else this.#parts.over.hidden = false;
  }

  /** Mark the line that is being said, and keep the place in sight. */
  #follow(second, atOnce = false) {
    const line = this.lines?.findLast((one) => one.start <= second + LOOSE) ?? null;
    if (line && second < line.end + LOOSE) line.setAttribute("aria-current", "true");
    else line?.removeAttribute("aria-current");
    if (line === this.#line && !atOnce) return;
    if (line !== this.#line) this.#line?.removeAttribute("aria-current");
    this.#line = line;
    const { transcript } = this.#parts;
    if (line && (atOnce || Date.now() - this.#scrolled > REST)) {
      const still = atOnce || matchMedia("(prefers-reduced-motion: reduce)").matches;
      const top = line.offsetTop - transcript.clientHeight / 3;
      transcript.scrollTo({ top, behavior: still ? "instant" : "smooth" });
    }
  }

  #key(event) {
    if (typing(event) || event.key === "Tab") return;
    const own = event.target.closest("button, a, input");
    const act = {
      " ": () => this.#toggle(),
      ArrowLeft: () => this.#seek(Math.max(0, this.#now() - STEP)),
      ArrowRight: () => this.#seek(this.#now() + STEP),
      j: () => this.callbacks.step?.(1),
      k: () => this.callbacks.step?.(-1),
      a: () => this.#again(),
      l: () => this.callbacks.like(this.id),
    }[event.key];
    const verdict = verdictOf(event.key);
    if (verdict) this.pair?.judge(verdict);
    else if (!act || (event.key === " " && own)) return;
    else act();
    event.preventDefault();
    event.stopPropagation();
  }
}
