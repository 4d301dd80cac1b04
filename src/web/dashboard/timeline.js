// What has changed, the newest first.

const ENTRIES = 50;
/** More than anybody reads; what is older comes again with the button. */
const MOST = 1000;

class Timeline {
  #entries = [];
  /** Those that came since the newest page was last asked for. */
  #came = [];
  #items = new Map();
  #kind = "";
  #isThereMore = false;
  #absence = null;
  #turn = 0;

  constructor() {
    $("kind").addEventListener("change", (event) => {
      this.#kind = event.target.value;
      this.#entries = [];
      this.load();
    });
    $("older").addEventListener("click", () => this.#older());
  }

  /** The newest page. Of two questions under way, the later one counts. */
  async load() {
    const turn = ++this.#turn;
    this.#came = [];
    const page = await this.#ask({});
    if (turn !== this.#turn || !page) return;
    const ids = new Set(page.map(({ id }) => id));
    const others = (entries) => entries.filter(({ id }) => !ids.has(id));
    const before = this.#entries.filter((entry) => !this.#came.includes(entry));
    const joins = before.some(({ id }) => ids.has(id));
    if (!joins) this.#isThereMore = page.length === ENTRIES;
    // What happens while the answer is on its way need not be in it.
    this.#entries = [...others(this.#came), ...page, ...(joins ? others(before) : [])];
    this.#render();
  }

  /** One that has just happened. */
  add(entry) {
    this.#absence = null;
    if (this.#kind && entry.kind !== this.#kind) return;
    if (this.#entries.some((known) => known.id === entry.id)) return;
    const newestFirst = (entries) => [entry, ...entries].sort((a, b) => b.id - a.id).slice(0, MOST);
    this.#came = newestFirst(this.#came);
    this.#entries = newestFirst(this.#entries);
    this.#render();
  }

  clear() {
    this.#turn++;
    this.#entries = [];
    this.#render();
  }

  async #older() {
    const turn = this.#turn;
    const before = this.#entries.at(-1)?.id;
    const page = await this.#ask({ before });
    // What it was to follow may have been replaced, or may have been followed already.
    if (!page || turn !== this.#turn || before !== this.#entries.at(-1)?.id) return;
    this.#isThereMore = page.length === ENTRIES && this.#entries.length + page.length < MOST;
    this.#entries = [...this.#entries, ...page];
    this.#render();
  }

  async #ask(more) {
    const query = new URLSearchParams({ limit: ENTRIES, ...more });
    if (this.#kind) query.set("kind", this.#kind);
    try {
      const { entries } = await fetchJson(`api/history?${query}`);
      this.#absence = null;
      return entries;
    } catch (failure) {
      this.#absence = failure.status === 404
        ? "This serve keeps no history."
        : `The history cannot be shown: ${failure.message}.`;
      this.#isThereMore = false;
      this.#render();
      return null;
    }
  }

  #render() {
    setList($("entries"), this.#items, this.#entries, (entry) => entry.id, makeEntry, () => {});
    const none = this.#kind ? "Nothing of this kind has changed." : "Nothing has changed yet.";
    setText($("no-entries"), this.#absence ?? none);
    show($("no-entries"), this.#absence !== null || !this.#entries.length);
    show($("older"), this.#isThereMore);
  }
}

function makeEntry(entry) {
  const { time, kind, subject, from, to, why } = entry;
  const date = new Date(time);
  const change = from ? `${from} → ${to}` : String(to ?? "");
  const level = entryLevel(entry);
  const today = day(new Date());
  return el("li", { "data-level": level },
    el("time", { datetime: time }, clock(date), el("span", { class: "day" }, day(date) === today ? "" : day(date))),
    el("div", {},
      el("div", { class: "head" }, el("b", {}, subject ?? kind), el("span", {}, icon(level), change)),
      el("p", { class: "why" }, why ? `${kind}: ${why}` : kind)));
}
