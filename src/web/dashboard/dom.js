// The few verbs for the document that all others use. Texts go in as texts: nothing here, or anywhere, reads HTML.

const SVG = "http://www.w3.org/2000/svg";

const $ = (id) => document.getElementById(id);

/** An element with attributes and children; texts become text nodes, and what is null is left out. */
function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const icon = (name) => svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));

// What is as it was is not written again: it would cost a layout, and screen readers would say it once more.

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

const show = (element, isShown) => { if (element.hidden === isShown) element.hidden = !isShown; };

/** A word with the symbol of its level. */
function setStatus(element, level, word) {
  if (element.dataset.level === level && element.dataset.word === word) return;
  Object.assign(element.dataset, { level, word });
  element.replaceChildren(icon(level), word);
}

/**
 * Makes the children of a list those of `items`, in this order: elements of the same key stay the same, so that focus
 * and what is unfolded stay, too. `known` is a Map that the caller keeps.
 */
function setList(list, known, items, keyOf, make, update) {
  const keys = new Set(items.map(keyOf));
  for (const [key, element] of known) {
    if (keys.has(key)) continue;
    element.remove();
    known.delete(key);
  }
  let next = list.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let element = known.get(key);
    if (!element) known.set(key, (element = make(item)));
    update(element, item);
    if (element === next) next = next.nextElementSibling;
    else list.insertBefore(element, next);
  }
}
