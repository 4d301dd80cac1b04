// The way to `serve`: requests with the token, and the stream of events, which is opened again whenever it ends.

const TOKEN = "supervisor-haproxy-token";
/** Comments come every 15 s; a stream without them is dead, whatever the network says. */
const SILENCE = 40_000;
/** The pauses between attempts grow from the first to the last of these. */
const FIRST_PAUSE = 1_000;
const LAST_PAUSE = 30_000;
/** Streams end by design. One that lived so long is opened again at once. */
const LIVED = 5_000;

/** What a browser that keeps nothing refuses is kept until the page is left. */
class Memory {
  #here = new Map();

  constructor(area) { this.area = area; }

  #try(action, otherwise) {
    try {
      return action(window[this.area]);
    } catch {
      return otherwise();
    }
  }

  get(key) { return this.#try((area) => area.getItem(key), () => this.#here.get(key) ?? null); }
  set(key, text) { this.#try((area) => area.setItem(key, text), () => this.#here.set(key, text)); }
  remove(key) { this.#try((area) => area.removeItem(key), () => this.#here.delete(key)); }
}

const ofTheTab = new Memory("sessionStorage");
const ofTheBrowser = new Memory("localStorage");

const token = {
  get: () => ofTheTab.get(TOKEN),
  set: (text) => ofTheTab.set(TOKEN, text),
  forget: () => ofTheTab.remove(TOKEN),
};

/** What went wrong, in the words of the problem document where there is one. */
class Failure extends Error {
  constructor(status, message, retryAfter = null) {
    super(message);
    Object.assign(this, { status, retryAfter });
  }
}

async function failureOf(response) {
  let words = `${response.status} ${response.statusText}`.trim();
  try {
    const problem = await response.json();
    words = problem.detail || problem.title || words;
  } catch {
    // Another proxy's page, perhaps: the status says enough.
  }
  const after = Number.parseInt(response.headers.get("retry-after"), 10);
  return new Failure(response.status, words, Number.isFinite(after) ? after : null);
}

async function ask(path, { method = "GET", accept = "application/json", signal } = {}) {
  const headers = { Accept: accept };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), {
      method, headers, signal, cache: "no-store", credentials: "same-origin", referrerPolicy: "no-referrer",
    });
  } catch {
    throw new Failure(0, signal?.aborted ? "no answer in time" : "serve cannot be reached");
  }
  if (!response.ok) throw await failureOf(response);
  return response;
}

/** A document, within ten seconds. */
async function fetchJson(path, options = {}) {
  const response = await ask(path, { ...options, signal: AbortSignal.timeout(10_000) });
  return response.json();
}

/** Cuts a stream of text into events (WHATWG HTML, 9.2.6). What is neither data nor a name is a sign of life only. */
class EventReader {
  #rest = "";
  #data = [];
  #name = "";

  constructor(onEvent) { this.onEvent = onEvent; }

  push(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === "") return this.#dispatch();
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "data") this.#data.push(value);
    if (field === "event") this.#name = value;
  }

  #dispatch() {
    if (this.#data.length) this.onEvent(this.#name || "message", this.#data.join("\n"));
    this.#data = [];
    this.#name = "";
  }
}

/** Keeps one stream open. Its state is `live`, `seen` (when the last byte came), `why` and `nextAt`. */
class Link {
  live = false;
  seen = null;
  lostAt = Date.now();
  why = "";
  nextAt = null;
  #wake = null;
  #controller = null;

  constructor({ onEvent, onOpen, onDenied, onChange }) {
    Object.assign(this, { onEvent, onOpen, onDenied, onChange });
  }

  async run() {
    let pause = 0;
    for (;;) {
      const opened = Date.now();
      const denied = await this.#connect();
      const lived = this.seen !== null && this.seen > opened && Date.now() - opened > LIVED;
      if (denied) {
        this.onDenied(denied);
        await this.#sleep(null);
        pause = 0;
        continue;
      }
      pause = lived ? 0 : Math.min(LAST_PAUSE, Math.max(FIRST_PAUSE, pause * 2));
      if (pause) await this.#sleep(pause);
    }
  }

  /** Tries at once, where it waits; with another token, for instance. */
  now() {
    this.#wake?.();
  }

  /** Ends the stream under way, so that the next one is opened with what is known now. */
  restart() {
    this.#controller?.abort();
    this.now();
  }

  async #connect() {
    const controller = (this.#controller = new AbortController());
    const watchdog = setInterval(() => {
      if (Date.now() - (this.live ? this.seen : opened) > SILENCE) controller.abort();
    }, 1_000);
    const opened = Date.now();
    try {
      const response = await ask("api/events", { accept: "text/event-stream", signal: controller.signal });
      await this.#read(response);
      this.#lost("serve ended the stream");
    } catch (failure) {
      this.#lost(failure.message);
      if (failure.status === 401) return failure;
      // What is no failure of the way is one of this page.
      if (!(failure instanceof Failure)) console.error(failure);
    } finally {
      clearInterval(watchdog);
    }
    return null;
  }

  async #read(response) {
    const events = new EventReader((name, data) => this.onEvent(name, JSON.parse(data)));
    const text = response.body.pipeThrough(new TextDecoderStream()).getReader();
    Object.assign(this, { live: true, seen: Date.now(), why: "", nextAt: null });
    this.onOpen();
    this.onChange();
    for (;;) {
      const { done, value } = await text.read().catch(() => { throw new Failure(0, "the connection broke"); });
      if (done) return;
      this.seen = Date.now();
      events.push(value);
    }
  }

  #lost(why) {
    if (this.live) this.lostAt = Date.now();
    Object.assign(this, { live: false, why });
    this.onChange();
  }

  /** Until then, or until somebody wakes it. */
  async #sleep(pause) {
    this.nextAt = pause === null ? null : Date.now() + pause;
    this.onChange();
    await new Promise((resolve) => {
      this.#wake = resolve;
      if (pause !== null) setTimeout(resolve, pause);
    });
    this.#wake = null;
    this.nextAt = null;
  }
}
