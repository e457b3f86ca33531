/**
 * Block Kit's interactive elements as DOM, and what the user has entered in them.
 *
 * A surface (a message, a modal, the Home tab) passes this as `ctx`:
 *   people   {me, users: Map, channels: Map}
 *   press    (node, {block_id, action_id, option?, value?}, confirm?) => Promise<boolean>; false: not sent
 *   values   what the user had entered before a redraw: {block_id: {action_id: string|string[]}}
 *   busyKey  (block_id, action_id, option) => the key of a press in progress, or ""
 *   memory   Map for the page and sorting of a table
 */

import { el, icon, openMenu } from "./dom.js";
import { plain, safeUrl, textObject } from "./text.js";

const ids = (element, blockId) => ({ "data-block-id": blockId, "data-action-id": element.action_id ?? "" });
const openUrl = (url) => {
  const href = safeUrl(url);
  if (href) window.open(href, "_blank", "noopener,noreferrer");
};

/** A button; a link button opens its URL and tells the bot as well, as in Slack. */
function button(element, blockId, ctx) {
  const press = () => {
    if (element.url) openUrl(element.url);
    ctx.press(node, { block_id: blockId, action_id: element.action_id ?? "", value: element.value }, element.confirm);
  };
  const node = el("button", {
    type: "button", class: `btn ${element.style ?? ""}`, ...ids(element, blockId), "data-value": element.value,
    "aria-label": element.accessibility_label, onclick: press, ...busy(ctx, blockId, element.action_id, element.value),
  }, el("span", {}, textObject(element.text, ctx.people)), element.url && icon("open"));
  return node;
}

function busy(ctx, blockId, actionId, option) {
  const key = ctx.busyKey?.(blockId, actionId ?? "", option) ?? "";
  return key ? { "aria-busy": "true", "data-busy": key } : {};
}

function overflow(element, blockId, ctx) {
  const choose = (option) => {
    if (option.url) openUrl(option.url);
    ctx.press(node, { block_id: blockId, action_id: element.action_id ?? "", option: option.value }, element.confirm);
  };
  const open = () => openMenu(node, (element.options ?? []).map((option) => ({
    label: el("span", {}, textObject(option.text, ctx.people)), value: option.value, detail: option.description?.text, choose: () => choose(option),
  })));
  const node = el("button", { type: "button", class: "btn overflow", ...ids(element, blockId), "aria-haspopup": "menu", "aria-expanded": "false",
    "aria-label": element.accessibility_label ?? "More actions", onclick: open, ...busy(ctx, blockId, element.action_id) }, icon("more"));
  return node;
}

/* Inputs ------------------------------------------------------------------------------------------------------------- */

const valueOr = (ctx, element, blockId, initial) => ctx.values?.[blockId]?.[element.action_id ?? ""] ?? initial;
const dispatches = (ctx) => !ctx.inInput || ctx.dispatches;

/** Send a new choice to the bot; a declined confirmation restores the old one. */
async function dispatch(node, ctx, element, detail, restore) {
  if (!dispatches(ctx)) return;
  const sent = await ctx.press(node, { block_id: node.dataset.blockId, action_id: element.action_id ?? "", ...detail }, element.confirm);
  if (!sent) restore();
}

function textInput(element, blockId, ctx) {
  const attributes = {
    ...ids(element, blockId), placeholder: element.placeholder?.text, maxlength: element.max_length, minlength: element.min_length,
    autofocus: element.focus_on_load, autocomplete: "off", spellcheck: "false", class: "field",
  };
  const node = element.multiline ? el("textarea", { ...attributes, rows: "4" }) : el("input", { ...attributes, type: "text" });
  node.value = valueOr(ctx, element, blockId, element.initial_value ?? "");
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || element.multiline || !dispatches(ctx)) return;
    event.preventDefault();
    dispatch(node, ctx, element, { value: node.value }, () => {});
  });
  return node;
}

function picker(type) {
  return (element, blockId, ctx) => {
    const node = el("input", { ...ids(element, blockId), type, class: "field", autofocus: element.focus_on_load, "aria-label": ctx.inInput ? null : element.placeholder?.text ?? type });
    node.value = valueOr(ctx, element, blockId, element[`initial_${type}`] ?? "");
    node.addEventListener("change", () => dispatch(node, ctx, element, { value: node.value }, () => {}));
    return node;
  };
}

/** The choices of a select, and the one the bot chose; the conversations come from the workspace. */
function choices(element, people) {
  if (element.type === "static_select") {
    const options = (element.options ?? []).map((one) => ({ value: one.value, label: one.text?.text ?? one.value }));
    return { options, initial: element.initial_option?.value ?? "" };
  }
  const label = (channel) => (channel.is_im ? "Direct messages with the app" : `#${channel.name}`);
  const options = [...people.channels.values()].map((channel) => ({ value: channel.id, label: label(channel) }));
  return { options, initial: element.initial_conversation ?? "" };
}

function select(element, blockId, ctx) {
  const { options, initial } = choices(element, ctx.people);
  const hint = element.placeholder?.text ?? "Choose…";
  const node = el("select", { class: "field", ...ids(element, blockId), autofocus: element.focus_on_load,
    "aria-label": element.accessibility_label ?? (ctx.inInput ? null : hint) }, el("option", { value: "", hidden: Boolean(initial), disabled: Boolean(initial) }, hint),
  options.map((option) => el("option", { value: option.value }, option.label)));
  node.value = valueOr(ctx, element, blockId, initial);
  if (node.selectedIndex < 0) node.value = "";
  let before = node.value;
  node.addEventListener("change", () => {
    if (node.value === "") return;
    const detail = element.type === "static_select" ? { option: node.value } : { value: node.value };
    const old = before;
    before = node.value;
    dispatch(node, ctx, element, detail, () => { node.value = before = old; });
  });
  return node;
}

let groups = 0;

function checkboxes(element, blockId, ctx) {
  const initial = (element.initial_options ?? []).map((option) => option.value);
  const checked = valueOr(ctx, element, blockId, initial);
  const rows = (element.options ?? []).map((option) => {
    const input = el("input", { type: "checkbox", value: option.value, ...ids(element, blockId) });
    input.checked = checked.includes(option.value);
    const detail = option.description && el("span", { class: "muted small choice-detail" }, textObject(option.description, ctx.people));
    return el("label", { class: "choice" }, input, el("span", {}, textObject(option.text, ctx.people), detail));
  });
  const node = el("div", { class: "checkboxes", role: "group", "data-block-id": blockId, "data-group": element.action_id ?? "" }, rows);
  node.addEventListener("change", (event) => dispatch(node, ctx, element, { value: groupValue(node) }, () => { event.target.checked = !event.target.checked; }));
  return node;
}

const groupValue = (group) => [...group.querySelectorAll("input:checked")].map((input) => input.value);

/* Everything by its type --------------------------------------------------------------------------------------------- */

const ELEMENTS = {
  button, overflow, checkboxes, plain_text_input: textInput, static_select: select, conversations_select: select,
  datepicker: picker("date"), timepicker: picker("time"),
};

/** An element by its type. */
export function renderElement(element, blockId, ctx) {
  const build = ELEMENTS[element?.type];
  return build ? build(element, blockId, ctx) : unsupported(element);
}

/** A gray box in place of a block or an element that the page can't draw. */
export const unsupported = (thing) => el("div", { class: "unsupported" }, `Not supported here: ${thing?.type ?? "no type"}`);

/** An `input` block: label, control, hint and room for an error. */
export function inputBlock(block, blockId, ctx) {
  const control = renderElement(block.element ?? {}, blockId, { ...ctx, inInput: true, dispatches: block.dispatch_action });
  const id = `in-${(groups += 1)}`;
  const grouped = control.matches("[data-group]");
  const title = [el("span", {}, plain(block.label?.text)), block.optional && el("span", { class: "muted optional" }, " (optional)")];
  const label = grouped ? el("div", { class: "label", id }, title) : el("label", { class: "label", for: id }, title);
  if (grouped) control.setAttribute("aria-labelledby", id);
  else control.id = id;
  control.setAttribute("aria-describedby", `${id}-hint ${id}-error`);
  return el("div", { class: "input-block", "data-input-block": blockId, "data-optional": block.optional ? "yes" : null }, label, control,
    block.hint && el("div", { class: "muted small hint", id: `${id}-hint` }, plain(block.hint.text)),
    el("div", { class: "field-error", id: `${id}-error`, "data-block-id": blockId, hidden: true }));
}

/** All that the user has entered on a surface: {block_id: {action_id: string | string[]}}; a select without a choice is left out. */
export function collect(root) {
  const values = {};
  const put = (node, action, value) => { (values[node.dataset.blockId] ??= {})[action] = value; };
  for (const node of root.querySelectorAll("[data-group]")) put(node, node.dataset.group, groupValue(node));
  for (const node of root.querySelectorAll("input[data-action-id]:not([type=checkbox]), select[data-action-id], textarea[data-action-id]")) {
    if (node.value !== "" || node.localName !== "select") put(node, node.dataset.actionId, node.value);
  }
  return values;
}

/** What Slack's own client finds wrong before it asks the bot: {block_id: text}. */
export function formErrors(root) {
  const errors = {};
  for (const box of root.querySelectorAll("[data-input-block]")) {
    const group = box.querySelector("[data-group]");
    const field = box.querySelector(".field");
    const value = group ? groupValue(group) : field?.value ?? "";
    if (!value.length && !box.dataset.optional && !field?.validity?.badInput) errors[box.dataset.inputBlock] = "Please complete this required field.";
    else if (field && !field.validity.valid) errors[box.dataset.inputBlock] = field.validationMessage || "Please check this field.";
  }
  return errors;
}

/** Show each error below its field and focus the first field with one. */
export function showErrors(root, errors) {
  let first = null;
  for (const slot of root.querySelectorAll(".field-error")) {
    const text = errors[slot.dataset.blockId] ?? "";
    slot.hidden = !text;
    slot.textContent = text;
    const control = slot.parentElement.querySelector(".field, .choice input");
    control?.toggleAttribute("aria-invalid", Boolean(text));
    if (text) control?.setAttribute("aria-invalid", "true");
    if (text && !first) first = control;
  }
  first?.focus();
}
