// The table of servers. Rows have keys: an event changes the texts that differ and nothing else, so focus stays where
// it is, and thousands of servers cost little. More rows than PAGE come when they are asked for; those that are not well
// always come.

const PAGE = 200;

class Servers {
  #rows = new Map();
  #groups = new Map();
  #servers = [];
  #limit = PAGE;
  #words = [];
  #onlyUnwell = false;
  /** Lines are drawn where somebody can see them. */
  #sight = new IntersectionObserver((seen) => this.#onSight(seen), { rootMargin: "400px" });

  constructor(sessions, onMenu) {
    this.sessions = sessions;
    $("table").addEventListener("click", (event) => {
      const button = event.target.closest(".dots");
      if (button) onMenu(button, this.#rows.get(button.closest("tr").dataset.key).server);
    });
    $("filter").addEventListener("input", (event) => this.filter(event.target.value));
    $("only-unwell").addEventListener("change", (event) => {
      this.#onlyUnwell = event.target.checked;
      this.#render();
    });
    $("more").addEventListener("click", () => this.#grow(PAGE));
    $("all").addEventListener("click", () => this.#showAll());
  }

  set(servers) {
    this.#servers = [...servers].sort((a, b) => byName(a.backend, b.backend) || byName(a.server, b.server));
    this.#render();
  }

  filter(text) {
    this.#words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.#limit = PAGE;
    this.#render();
  }

  redraw() {
    this.#render();
  }

  #onSight(seen) {
    for (const { target, isIntersecting } of seen) {
      const row = this.#rows.get(target.dataset.key);
      if (!row) continue;
      row.isSeen = isIntersecting;
      if (isIntersecting) drawSpark(row.part.spark, this.sessions.of(row.server));
    }
  }

  #grow(by) {
    this.#limit += by;
    this.#render();
  }

  /** A piece for each frame, so that the page goes on answering. */
  #showAll() {
    if (this.#limit >= this.#servers.length) return;
    this.#grow(PAGE);
    requestAnimationFrame(() => this.#showAll());
  }

  #matches(server) {
    if (this.#onlyUnwell && !isUnwell(server)) return false;
    if (!this.#words.length) return true;
    const { backend, program, programState, status, admin, check, remark, hold } = server;
    const text = [`${backend}/${server.server}`, program, programState, status, admin, check, remark, hold?.by, hold?.reason]
      .filter(Boolean).join(" ").toLowerCase();
    return this.#words.every((word) => text.includes(word));
  }

  #render() {
    const matching = this.#servers.filter((server) => this.#matches(server));
    const shown = matching.filter((server, at) => at < this.#limit || isUnwell(server));
    const focused = document.activeElement?.closest?.("#table tr");
    this.#renderGroups(Map.groupBy(shown, (server) => server.backend));
    // Where the focused row is gone, the focus is to be somewhere that makes sense.
    if (focused && !focused.isConnected) $("servers").focus({ preventScroll: true });
    this.#renderFoot(matching.length, shown.length);
  }

  #renderGroups(groups) {
    const all = Map.groupBy(this.#servers, (server) => server.backend);
    for (const [backend, body] of this.#groups) {
      if (groups.has(backend)) continue;
      for (const line of body.querySelectorAll("tr.server")) this.#forget(line);
      body.remove();
      this.#groups.delete(backend);
    }
    let next = $("table").tHead.nextElementSibling;
    for (const [backend, servers] of groups) {
      let body = this.#groups.get(backend);
      if (!body) this.#groups.set(backend, (body = makeGroup(backend)));
      setText(body.querySelector(".tally"), tally(all.get(backend)));
      this.#renderRows(body, servers);
      if (body === next) next = next.nextElementSibling;
      else $("table").insertBefore(body, next);
    }
  }

  #renderRows(body, servers) {
    const keys = new Set(servers.map(keyOf));
    for (const line of [...body.rows].slice(1)) if (!keys.has(line.dataset.key)) this.#forget(line);
    let next = body.rows[0].nextElementSibling;
    for (const server of servers) {
      let row = this.#rows.get(keyOf(server));
      if (!row) row = this.#make(server);
      updateRow(row, server);
      if (row.isSeen) drawSpark(row.part.spark, this.sessions.of(server));
      if (row.line === next) next = next.nextElementSibling;
      else body.insertBefore(row.line, next);
    }
  }

  #make(server) {
    const row = makeRow(server);
    this.#rows.set(keyOf(server), row);
    this.#sight.observe(row.line);
    return row;
  }

  #forget(line) {
    this.#sight.unobserve(line);
    this.#rows.delete(line.dataset.key);
    line.remove();
  }

  #renderFoot(matching, shown) {
    const total = this.#servers.length;
    const of = matching === total ? count(total, "server") : `${number(matching)} of ${count(total, "server")}`;
    let words = shown < matching ? `The first ${number(shown)} of ${of}; all that are not well are among them.` : `${of}.`;
    if (!matching && total) words = this.#onlyUnwell && !this.#words.length ? "All servers are well." : "No server matches.";
    if (!total) words = "HAProxy has told of no servers.";
    setText($("table-foot"), words);
    show($("more"), shown < matching);
    show($("all"), shown < matching && matching > shown + PAGE);
  }
}

function tally(group) {
  const servers = unique(group);
  const up = servers.filter((server) => statusLevel(server.status) === "ok").length;
  return up === servers.length ? count(up, "server") : `${number(up)} of ${count(servers.length, "server")} up`;
}

function makeGroup(backend) {
  const heading = el("th", { scope: "rowgroup", colspan: "9", role: "rowheader" }, backend, el("span", { class: "tally" }));
  return el("tbody", { role: "rowgroup" }, el("tr", { class: "backend", role: "row" }, heading));
}

/** The row's line in the table, and the parts of it that change. */
function makeRow(server) {
  const cell = (kind, label, ...children) => el("td", { role: "cell", class: kind, "data-label": label }, ...children);
  const part = {
    status: el("span", { class: "status" }), since: el("span", { class: "also" }),
    admin: el("span"), wanted: el("span", { class: "also" }), check: el("span"),
    sessions: el("span"), spark: makeSpark(), queue: el("span"),
    program: el("span"), state: el("span", { class: "also status" }), remark: cell("remark", "Agreement"),
  };
  const dots = el("button", { type: "button", class: "dots", "aria-haspopup": "menu", "aria-expanded": "false",
    "aria-label": `Actions for ${nameOf(server)}` }, icon("more"));
  const line = el("tr", { class: "server", role: "row", "data-name": nameOf(server), "data-key": keyOf(server) },
    el("th", { scope: "row", role: "rowheader" }, server.server),
    cell("state", "Status", part.status, part.since),
    cell("set", "Set to", part.admin, part.wanted),
    cell("check", "Check", part.check),
    cell("num sessions", "Sessions", el("span", { class: "row" }, part.spark, part.sessions)),
    cell("num queue", "Queue", part.queue),
    cell("program", "Program", part.program, part.state),
    part.remark,
    el("td", { role: "cell", class: "menu-cell" }, dots));
  return { line, part, server, remark: null, isSeen: false };
}

function updateRow(row, server) {
  const { line, part } = row;
  row.server = server;
  setAttribute(line, "data-level", serverLevel(server));
  setStatus(part.status, statusLevel(server.status), server.status ?? "unknown");
  setText(part.since, server.since === null ? "" : `for ${duration(server.since)}`);
  setText(part.admin, server.admin ?? "–");
  setText(part.wanted, server.wanted && server.wanted !== server.admin ? `wanted: ${server.wanted}` : "");
  setText(part.check, server.check || "–");
  setNumber(part.sessions, server.sessions);
  setNumber(part.queue, server.queue);
  setText(part.program, server.program ?? "–");
  updateState(part.state, server);
  updateRemark(row, server);
}

function setNumber(element, value) {
  setText(element, number(value));
  setAttribute(element, "class", value ? null : "quiet-zero");
}

function updateState(element, server) {
  if (!server.programState) return setText(element, "");
  const uptime = server.programUptime === null ? "" : ` for ${duration(server.programUptime)}`;
  setStatus(element, stateLevel(server.programState), server.programState + uptime);
}

/** Who holds it and why, or whether program and server agree. */
function updateRemark(row, server) {
  const { hold, agrees, remark } = server;
  const lines = [];
  if (hold) lines.push(["warn", "hold", `Held by ${hold.by}: ${hold.reason}`, hold.since ? `since ${moment(hold.since)}` : ""]);
  if (agrees === false) lines.push(["warn", "warn", remark ?? "does not agree", ""]);
  else if (remark) lines.push(["unknown", "unknown", remark, ""]);
  else if (agrees && !hold) lines.push(["ok", null, "agrees", ""]);
  const key = JSON.stringify(lines);
  if (row.remark === key) return;
  row.remark = key;
  row.part.remark.replaceChildren(...lines.map(([level, symbol, words, also]) =>
    el("span", { "data-level": level, class: symbol === "hold" ? "strong held" : symbol ? "strong" : null }, symbol ? icon(symbol) : null, words,
      also ? el("span", { class: "also" }, also) : null)));
}
