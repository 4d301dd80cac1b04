// What was started from here or by others, and who holds what.

const jobItems = new Map();
const holdItems = new Map();

/** The newest first. */
function renderJobs(jobs) {
  const newest = [...jobs].sort((a, b) => b.id - a.id);
  setList($("job-list"), jobItems, newest, (job) => job.id, makeJob, updateJob);
  show($("no-jobs"), !jobs.length);
}

function makeJob(job) {
  return el("li", {},
    el("div", { class: "head" }, el("b", {}, `${job.action} ${job.subject}`), el("span", { class: "status" }),
      el("time", { class: "when", datetime: job.startedAt }, moment(job.startedAt))),
    el("details", { open: job.state === "succeeded" ? null : "" }, el("summary", {}, "What it says"), el("pre", {})));
}

function updateJob(item, job) {
  setStatus(item.querySelector(".status"), JOB[job.state] ?? "unknown", job.state);
  const details = item.querySelector("details");
  show(details, job.lines.length > 0);
  setText(details.lastElementChild, job.lines.join("\n"));
}

function renderHolds(servers) {
  const held = unique(servers).filter((server) => server.hold);
  setList($("hold-list"), holdItems, held, nameOf, makeHold, updateHold);
  show($("no-holds"), !held.length);
  setText($("n-holds"), number(held.length));
}

function makeHold(server) {
  return el("li", { "data-level": "warn" },
    el("div", { class: "head" }, el("span", {}, icon("hold"), " ", el("b", {}, nameOf(server))), el("time", { class: "when" })),
    el("p", {}), el("p", { class: "why" }));
}

function updateHold(item, { hold }) {
  const time = item.querySelector("time");
  setAttribute(time, "datetime", hold.since);
  setText(time, hold.since ? `since ${moment(hold.since)}` : "");
  const [reason, by] = item.querySelectorAll("p");
  setText(reason, hold.reason);
  setText(by, `by ${hold.by}`);
}
