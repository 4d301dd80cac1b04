// Sessions of the last checks, and the small lines that show them.

/** As many as `serve` keeps. */
const POINTS = 60;
const WIDTH = 60;
const HEIGHT = 18;

class Sessions {
  interval = null;
  #values = new Map();
  #last = null;

  /** What `serve` remembers takes the place of what was seen here. */
  load({ interval, servers }) {
    this.interval = interval;
    this.#values = new Map(Object.entries(servers).map(([name, values]) => [name, values.slice(-POINTS)]));
  }

  /** One more check, once. */
  add(overview) {
    const at = overview.haproxy.lastCheck;
    if (!at || at === this.#last) return;
    this.#last = at;
    const before = this.#values;
    this.#values = new Map();
    for (const server of overview.servers) {
      const name = nameOf(server);
      const values = before.get(name) ?? [];
      this.#values.set(name, server.sessions === null ? values : [...values, server.sessions].slice(-POINTS));
    }
  }

  of(server) {
    return this.#values.get(nameOf(server)) ?? [];
  }
}

function makeSpark() {
  const attributes = { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" };
  return svg("svg", attributes, svg("polygon"), svg("polyline"));
}

/** The newest is at the right, and the highest touches the top. */
function drawSpark(spark, values) {
  const top = Math.max(1, ...values);
  const step = WIDTH / (POINTS - 1);
  const first = WIDTH - step * (values.length - 1);
  const points = values.map((value, at) =>
    `${(first + at * step).toFixed(1)},${(HEIGHT - 1 - (value / top) * (HEIGHT - 2)).toFixed(1)}`);
  const line = points.join(" ");
  const [area, stroke] = spark.children;
  setAttribute(stroke, "points", line);
  setAttribute(area, "points", values.length > 1 ? `${first.toFixed(1)},${HEIGHT} ${line} ${WIDTH},${HEIGHT}` : "");
  const range = values.length ? `between ${number(Math.min(...values))} and ${number(Math.max(...values))}` : "unknown";
  setAttribute(spark, "aria-label", `sessions in the last ${count(values.length, "check")}: ${range}`);
}
