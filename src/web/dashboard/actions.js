// The menu of a row, the question before anything is done, and what became of it.

class Actions {
  #menu = $("menu");
  #dialog = $("confirm");
  #button = null;
  #server = null;
  #action = null;

  /** `state` tells what is known: the overview, and whether the page is live. */
  constructor(state, onJob) {
    Object.assign(this, { state, onJob });
    const items = $("menu-items");
    items.addEventListener("click", (event) => this.#choose(event.target.closest("button")));
    items.addEventListener("keydown", (event) => this.#key(event));
    this.#menu.addEventListener("focusout", (event) => {
      if (!this.#menu.contains(event.relatedTarget)) this.close();
    });
    document.addEventListener("pointerdown", (event) => {
      if (!this.#menu.contains(event.target) && !this.#button?.contains(event.target)) this.close();
    });
    window.addEventListener("resize", () => this.close());
    $("confirm-no").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#perform();
    });
  }

  /** Why nothing can be done, or null. */
  #why() {
    const { allowed, why } = this.state().overview.actions;
    if (!allowed) return why ?? "serve does not allow actions";
    return token.get() ? null : "actions need the token";
  }

  #whyNot(action) {
    return action === "restart" && !this.#server.program ? "no program stands for this server" : null;
  }

  toggle(button, server) {
    if (this.#button === button) return this.close(true);
    this.close();
    if (server) this.#open(button, server);
  }

  #open(button, server) {
    this.#button = button;
    this.#server = server;
    const why = this.#why();
    setText($("menu-why"), why ? `Not from here: ${why}.` : "");
    show($("menu-why"), why !== null);
    setAttribute($("menu-items"), "aria-label", `Actions for ${nameOf(server)}`);
    for (const item of $("menu-items").children) this.#label(item, why);
    button.setAttribute("aria-expanded", "true");
    this.#menu.showPopover();
    this.#place(button.getBoundingClientRect());
    $("menu-items").firstElementChild.focus();
  }

  #label(item, why) {
    const { action } = item.dataset;
    const whyNot = this.#whyNot(action);
    const words = { drain: "Drain", ready: "Ready", maint: "Maintenance", restart: "Restart" }[action];
    const what = action === "restart" && this.#server.program ? `${words} ${this.#server.program}` : words;
    item.replaceChildren(`${what} …`, ...(whyNot && !why ? [el("span", { class: "why" }, whyNot)] : []));
    setAttribute(item, "aria-disabled", why || whyNot ? "true" : null);
  }

  /** Below the button, or above it where there is no room. */
  #place(at) {
    const { offsetWidth: width, offsetHeight: height } = this.#menu;
    const below = at.bottom + 4 + height < innerHeight;
    this.#menu.style.left = `${Math.max(8, Math.min(at.right - width, innerWidth - width - 8))}px`;
    this.#menu.style.top = `${Math.max(8, below ? at.bottom + 4 : at.top - height - 4)}px`;
  }

  close(keepsFocus = false) {
    const button = this.#button;
    if (!button) return;
    this.#button = null;
    button.setAttribute("aria-expanded", "false");
    this.#menu.hidePopover();
    if (keepsFocus && button.isConnected) button.focus();
  }

  #key(event) {
    const items = [...$("menu-items").children];
    const at = items.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (to !== undefined) items.at(to % items.length).focus();
    else if (event.key === "Escape" || event.key === "Tab") this.close(true);
    else return;
    // Tab goes on from the button, as if the menu had not been there.
    if (event.key !== "Tab") event.preventDefault();
  }

  #choose(item) {
    if (!item || item.getAttribute("aria-disabled") === "true") return;
    this.#action = item.dataset.action;
    this.close(true);
    this.#confirm();
  }

  #confirm() {
    const { title, text, verb } = ACTIONS[this.#action];
    setText($("confirm-title"), title(this.#server));
    setText($("confirm-text"), text(this.#server, this.state().overview.servers));
    const warning = this.#warning();
    setText($("confirm-warning"), warning ?? "");
    show($("confirm-warning"), warning !== null);
    setText($("confirm-error"), "");
    setText($("confirm-yes"), verb);
    this.#busy(false);
    this.#dialog.showModal();
    // What is pressed once too often is to change nothing.
    $("confirm-no").focus();
  }

  /** What somebody who is in a hurry may not have seen. */
  #warning() {
    const { overview, live, age } = this.state();
    if (!live) return `This page is not live: what it shows is ${duration(age)} old.`;
    if (!ACTIONS[this.#action].takesAway) return null;
    const peers = unique(overview.servers).filter(({ backend }) => backend === this.#server.backend);
    const up = peers.filter(({ status }) => statusLevel(status) === "ok");
    const isLast = up.length === 1 && nameOf(up[0]) === nameOf(this.#server);
    return isLast ? `It is the only server of ${this.#server.backend} that is up: nobody will answer for it.` : null;
  }

  #busy(isBusy) {
    $("confirm-yes").disabled = isBusy;
    setAttribute($("confirm-yes"), "aria-busy", isBusy ? "true" : null);
  }

  async #perform() {
    const { verb } = ACTIONS[this.#action];
    const subject = this.#action === "restart" ? this.#server.program : nameOf(this.#server);
    this.#busy(true);
    try {
      const { job } = await fetchJson(pathOf(this.#action, this.#server), { method: "POST" });
      this.#dialog.close();
      this.onJob(job);
      toast(`${verb}: ${subject}: begun`);
    } catch (failure) {
      const after = failure.retryAfter === null ? "" : ` Try again in ${failure.retryAfter} s.`;
      setText($("confirm-error"), `Not done: ${failure.message}.${after}`);
    } finally {
      this.#busy(false);
    }
  }
}

let toastTimer = null;

/** Said by screen readers, and shown for some seconds. */
function toast(text) {
  setText($("toast"), text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => setText($("toast"), ""), 8_000);
}
