// Ties all together: what comes from `serve` goes to the parts of the page, once for each event.

/** A stream that ends is opened again within this time, and nobody needs to know. */
const GRACE = 3_000;

let overview = null;
let extraJobs = [];

const sessions = new Sessions();
const timeline = new Timeline();
const link = new Link({ onEvent, onOpen, onDenied, onChange: renderLink });
const actions = new Actions(() => ({ overview, live: isLive(), age: ageOf() }), onJob);
const servers = new Servers(sessions, (button, server) => actions.toggle(button, server));

// --- what comes

function onEvent(name, data) {
  if (name === "history") return timeline.add(data);
  if (name !== "overview") return;
  const before = overview;
  overview = data;
  sessions.add(data);
  announce(changes(before, data));
  extraJobs = extraJobs.filter((job) => !data.jobs.some(({ id }) => id === job.id));
  render();
}

function onOpen() {
  show($("ask"), false);
  show($("forget"), token.get() !== null);
  timeline.load();
  fetchJson("api/overview/sessions").then((document) => {
    sessions.load(document);
    servers.redraw();
  }, () => {}); // Without it, lines begin now.
}

function onDenied(failure) {
  const wasWrong = token.get() !== null;
  close();
  setText($("ask-error"), wasWrong ? `Not let in: ${failure.message}.` : "");
  show($("ask"), true);
  $("token").focus();
}

/** Nothing of what only holders of the token may see stays in the page. */
function close() {
  token.forget();
  overview = null;
  extraJobs = [];
  actions.close();
  if ($("confirm").open) $("confirm").close();
  for (const id of ["content", "sections", "forget"]) show($(id), false);
  servers.set([]);
  renderHolds([]);
  renderJobs([]);
  timeline.clear();
  setText($("host"), "supervisor-haproxy");
  setText($("program"), "");
  document.title = "Token needed – supervisor-haproxy";
}

function onJob(job) {
  extraJobs = [job, ...extraJobs];
  renderJobs(allJobs());
}

const allJobs = () => [...extraJobs, ...(overview?.jobs ?? [])];

// --- what is said of it

/** What somebody who does not see the page would want to hear, in words. */
function changes(before, after) {
  if (!before) return [];
  const words = [];
  if (before.haproxy.status !== after.haproxy.status) words.push(`HAProxy is ${after.haproxy.status}`);
  if (before.haproxy.circuitState !== after.haproxy.circuitState) {
    words.push(`the circuit breaker is ${circuitOf(after)[1]}`);
  }
  return [...words, ...serverChanges(before, after), ...jobChanges(before, after)];
}

function serverChanges(before, after) {
  const levels = new Map(before.servers.map((server) => [nameOf(server), statusLevel(server.status)]));
  const changed = unique(after.servers).filter((server) => {
    const level = levels.get(nameOf(server));
    return level !== undefined && level !== statusLevel(server.status);
  });
  const words = changed.slice(0, 3).map((server) => `${nameOf(server)} is ${server.status ?? "unknown"}`);
  return changed.length > 3 ? [...words, `and ${number(changed.length - 3)} more servers changed`] : words;
}

function jobChanges(before, after) {
  const known = new Map([...before.jobs, ...extraJobs].map((job) => [job.id, job.state]));
  const ended = after.jobs.filter((job) => job.state !== "running" && known.get(job.id) === "running");
  for (const job of ended) toast(`${job.action} ${job.subject}: ${job.state}`);
  return [];
}

function announce(words) {
  if (words.length) setText($("said"), `${words.join(", ")}.`);
}

// --- what is shown

function render() {
  const { haproxy, problems } = overview;
  for (const id of ["content", "sections"]) show($(id), true);
  setText($("host"), overview.host);
  setText($("program"), `supervisor-haproxy ${overview.programVersion}`);
  setStatus($("status"), HAPROXY[haproxy.status] ?? "unknown", haproxy.status);
  setText($("status-message"), haproxy.message ?? haproxy.address);
  renderCounts();
  renderCircuit(haproxy);
  renderFigures(haproxy);
  renderSupervisord(overview.supervisord);
  show($("problems"), problems.length > 0);
  setList($("problem-list"), problemItems, problems, (text) => text, (text) => el("li", {}, text), () => {});
  renderActions();
  servers.set(overview.servers);
  renderHolds(overview.servers);
  renderJobs(allJobs());
  setText($("n-jobs"), number(overview.jobs.filter((job) => job.state === "running").length));
  renderTitle();
  renderLink();
}

const problemItems = new Map();

function renderCounts() {
  const all = unique(overview.servers);
  const up = all.filter((server) => statusLevel(server.status) === "ok").length;
  const unwell = unique(overview.servers.filter(isUnwell)).length;
  $("count").replaceChildren(number(up), el("span", { class: "of" }, ` of ${number(all.length)} up`));
  setText($("count-rest"), unwell ? `${number(unwell)} not well` : "all are well");
  setText($("n-servers"), number(all.length));
}

const circuitOf = ({ haproxy }) => CIRCUIT[haproxy.circuitState] ?? ["unknown", String(haproxy.circuitState), ""];

function renderCircuit(haproxy) {
  const [level, word, rest] = circuitOf(overview);
  setStatus($("circuit"), level, word);
  const retry = haproxy.retryAfter === null ? "" : `; asked again in ${number(Math.ceil(haproxy.retryAfter))} s`;
  setText($("circuit-rest"), rest + retry);
}

function renderFigures({ version, uptime, lastCheck, connections }) {
  const { current, total, rate, limit } = connections ?? {};
  $("connections").replaceChildren(number(current), el("span", { class: "of" }, ` of ${number(limit)}`));
  setText($("connections-rest"), `${number(rate)} a second, ${number(total)} in all`);
  setText($("version"), version ?? "–");
  setText($("version-rest"), uptime === null ? "" : `up for ${duration(uptime)}`);
  setText($("seen"), lastCheck ? `HAProxy was last checked at ${moment(lastCheck)}.` : "HAProxy was not checked yet.");
}

function renderSupervisord(supervisord) {
  const [level, word] = !supervisord ? ["off", "not known"] : supervisord.problem ? ["bad", "silent"] : ["ok", "answers"];
  setStatus($("supervisord"), level, word);
  setText($("supervisord-rest"), supervisord ? supervisord.problem ?? supervisord.address : "serve was not told of one");
}

function renderActions() {
  const { allowed, why } = overview.actions;
  setText($("no-actions"), allowed ? "" : `Nothing can be done from here: ${why ?? "serve does not allow actions"}.`);
  show($("no-actions"), !allowed);
}

/** The state stands first: a tab shows little more. */
function renderTitle() {
  const { status } = overview.haproxy;
  const level = HAPROXY[status] ?? "unknown";
  const unwell = unique(overview.servers.filter(isUnwell)).length;
  const rest = unwell ? `, ${number(unwell)} not well` : "";
  const title = `${{ ok: "✓", warn: "▲", bad: "✕" }[level] ?? "?"} ${status}${rest} – ${overview.host}`;
  if (document.title !== title) document.title = title;
  const colour = { ok: "%23187a45", warn: "%23d08700", bad: "%23c0262d" }[level] ?? "%23566078";
  setAttribute($("favicon"), "href", "data:image/svg+xml," +
    `<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><circle cx='8' cy='8' r='7' fill='${colour}'/></svg>`);
}

const isLive = () => link.live || (overview !== null && Date.now() - link.lostAt < GRACE);
const ageOf = () => (link.seen === null ? null : Math.round((Date.now() - link.seen) / 1000));

function renderLink() {
  const isAsking = !$("ask").hidden;
  const isStale = !isLive() && !isAsking && (overview !== null || link.why !== "");
  const [state, word] = isAsking ? ["wait", "no token"] : isStale ? ["no", "not live"] : isLive() ? ["yes", "live"] : ["wait", "connecting"];
  setAttribute($("live"), "data-live", state);
  setText($("live-word"), word);
  show($("stale"), isStale);
  if (!isStale) return;
  setText($("stale-why"), `${link.why}.`);
  const seen = ageOf() === null ? "" : `Last seen ${duration(ageOf())} ago.`;
  const next = link.nextAt === null ? " Trying now." : ` Next try in ${duration(Math.max(0, (link.nextAt - Date.now()) / 1000))}.`;
  setText($("stale-age"), seen + next);
}

// --- what is asked of the page

function setTheme(theme) {
  setAttribute(document.documentElement, "data-theme", theme || null);
}

$("theme").value = ofTheBrowser.get("theme") ?? "";
setTheme($("theme").value);
$("theme").addEventListener("change", (event) => {
  ofTheBrowser.set("theme", event.target.value);
  setTheme(event.target.value);
});

$("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set($("token").value.trim());
  $("token").value = "";
  setText($("ask-error"), "");
  link.now();
});

$("forget").addEventListener("click", () => {
  close();
  link.restart();
});
$("reconnect").addEventListener("click", () => link.now());
// Not while the token is asked for: somebody may be typing it.
document.addEventListener("visibilitychange", () => { if (!document.hidden && $("ask").hidden) link.now(); });
addEventListener("online", () => { if ($("ask").hidden) link.now(); });
setInterval(renderLink, 1_000);
link.run();
