// What is said of what is known: times, levels, and the words of the actions. Nothing here looks at the document.

const ORDER = ["ok", "unknown", "off", "drain", "busy", "warn", "bad"];
const worst = (...levels) => levels.reduce((a, b) => (ORDER.indexOf(b) > ORDER.indexOf(a) ? b : a), "ok");

const numbers = new Intl.NumberFormat("en");
const number = (value) => (value === null || value === undefined ? "–" : numbers.format(value));
const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

/** Seconds in words: the largest unit says enough, and does not change at each check. */
function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const units = [[86400, "d"], [3600, "h"], [60, "min"]];
  const [size, unit] = units.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${number(Math.max(0, Math.floor(seconds / size)))} ${unit}`;
}

const pad = (value) => String(value).padStart(2, "0");
const clock = (date) => `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
const day = (date) => `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;

/** The time of today, or the day before it. */
function moment(text, now = new Date()) {
  if (!text) return "";
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return String(text);
  return day(date) === day(now) ? clock(date) : `${day(date)} ${clock(date)}`;
}

const HAPROXY = { HEALTHY: "ok", DEGRADED: "warn", UNHEALTHY: "bad", UNKNOWN: "unknown" };
const CIRCUIT = {
  CLOSED: ["ok", "closed", "asked at each check"],
  HALF_OPEN: ["warn", "half open", "one question decides"],
  OPEN: ["bad", "open", "left alone"],
};

/** How a server's status in `show stat` is. */
function statusLevel(status) {
  if (!status) return "unknown";
  if (status.startsWith("DOWN")) return "bad";
  if (status.startsWith("MAINT")) return "off";
  if (status.startsWith("DRAIN")) return "drain";
  if (status === "UP" || status === "no check" || status === "OPEN") return "ok";
  return "warn"; // UP 1/3, NOLB
}

/** How a state of supervisord is. */
function stateLevel(state) {
  if (!state) return "ok";
  if (state === "FATAL" || state === "BACKOFF" || state === "UNKNOWN") return "bad";
  if (state === "STARTING" || state === "STOPPING") return "busy";
  return state === "RUNNING" ? "ok" : "off";
}

/** How a server is with all that is known of it. What is out on purpose, and agrees, is well. */
function serverLevel(server) {
  const accord = server.agrees === false || server.hold ? "warn" : "ok";
  return worst(statusLevel(server.status), stateLevel(server.programState), accord);
}

const isUnwell = (server) => ["warn", "bad"].includes(serverLevel(server));
const nameOf = (server) => `${server.backend}/${server.server}`;
/** Several programs may stand for one server: each has a row. */
const keyOf = (server) => `${nameOf(server)}\n${server.program ?? ""}`;
/** Each server once. */
const unique = (servers) => [...new Map(servers.map((server) => [nameOf(server), server])).values()];
/** web2 before web10. */
const byName = new Intl.Collator("en", { numeric: true }).compare;

const JOB = { running: "busy", succeeded: "ok", failed: "bad" };

/** How an entry of the history is, by what it has become. */
function entryLevel({ kind, to }) {
  if (kind === "action" && JOB[to]) return JOB[to];
  const word = String(to ?? "").toUpperCase();
  if (["HEALTHY", "CLOSED", "RUNNING", "READY", "SUCCEEDED", "RECOVERED", "DELIVERED", "SENT"].includes(word)) return "ok";
  if (["DEGRADED", "HALF_OPEN"].includes(word)) return "warn";
  if (["UNHEALTHY", "OPEN", "FATAL", "BACKOFF", "FAILED"].includes(word)) return "bad";
  if (["STARTING", "STOPPING"].includes(word)) return "busy";
  if (["STOPPED", "EXITED"].includes(word)) return "off";
  return /^(UP|DOWN|MAINT|DRAIN|NOLB|NO CHECK)/.test(word) ? statusLevel(word.replace("NO CHECK", "no check")) : "unknown";
}

/** What an action on a row is called, what it will do, and where it goes. */
const ACTIONS = {
  drain: {
    title: (server) => `Drain ${nameOf(server)}?`,
    text: (server) => `No new requests go to it; sessions in progress (${number(server.sessions)}) end by themselves.`,
    verb: "Drain",
    takesAway: true,
  },
  ready: {
    title: (server) => `Make ${nameOf(server)} ready?`,
    text: () => "It gets requests again, once its health check passes where it has one.",
    verb: "Make ready",
  },
  maint: {
    title: (server) => `Put ${nameOf(server)} into maintenance?`,
    text: (server) =>
      `No new requests go to it, and it is not checked any more; sessions in progress (${number(server.sessions)}) are ` +
      "not cut.",
    verb: "Put into maintenance",
    takesAway: true,
  },
  restart: {
    title: (server) => `Restart ${server.program}?`,
    text: (server, servers) => {
      const behind = servers.filter(({ program }) => program === server.program).map(nameOf).join(", ");
      return `The program ${server.program} stands behind ${behind}. It is drained until its sessions have ended, ` +
        "stopped, started, and gets requests again when it is up.";
    },
    verb: "Restart",
    takesAway: true,
  },
};

function pathOf(action, server) {
  const segment = encodeURIComponent;
  if (action === "restart") return `api/programs/${segment(server.program)}/restart`;
  return `api/servers/${segment(server.backend)}/${segment(server.server)}/${action}`;
}
