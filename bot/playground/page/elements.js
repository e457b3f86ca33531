/**
 * Block Kit's interactive elements as DOM, and what the user has put into them.
 *
 * A surface (a message, a modal, the Home tab) is given as `ctx`:
 *   people   {me, users: Map, channels: Map}
 *   press    (node, {block_id, action_id, option?, value?}, confirm?) => Promise<boolean>; false: not sent
 *   values   what the user had entered before a redraw: {block_id: {action_id: string|string[]}}
 *   busyKey  (block_id, action_id, option) => the key of a press under way, or ""
 *   memory   Map for the page of a table, an open container…
 *   channel  id of the channel on show
 */

import { el, icon, openMenu } from "./dom.js";
import { plain, safeUrl, textObject } from "./text.js";

const ids = (element, blockId) => ({ "data-block-id": blockId, "data-action-id": element.action_id ?? "" });
const labelOf = (option) => option?.text?.text ?? option?.value ?? "";
const openUrl = (url) => {
  const href = safeUrl(url);
  if (href) window.open(href, "_blank", "noopener,noreferrer");
};

/** A button; a link button opens its address and tells the bot as well, as in Slack. */
export function button(element, blockId, ctx) {
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

const kept = (ctx, element, blockId, initial) => ctx.values?.[blockId]?.[element.action_id ?? ""] ?? initial;
const tells = (ctx) => !ctx.inInput || ctx.dispatches;

/** Tell the bot about a new choice; a refused confirmation puts the old one back. */
async function tell(node, ctx, element, detail, restore) {
  if (!tells(ctx)) return;
  const sent = await ctx.press(node, { block_id: node.dataset.blockId, action_id: element.action_id ?? "", ...detail }, element.confirm);
  if (!sent) restore();
}

function textInput(element, blockId, ctx, type) {
  const attributes = {
    ...ids(element, blockId), placeholder: element.placeholder?.text, maxlength: element.max_length, minlength: element.min_length,
    autofocus: element.focus_on_load, autocomplete: "off", spellcheck: "false", class: "field",
  };
  const node = element.multiline ? el("textarea", { ...attributes, rows: "4" }) : el("input", { ...attributes, type: type ?? "text" });
  node.value = kept(ctx, element, blockId, element.initial_value ?? "");
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || element.multiline || !tells(ctx)) return;
    event.preventDefault();
    tell(node, ctx, element, { value: node.value }, () => {});
  });
  return node;
}

function numberInput(element, blockId, ctx) {
  const node = textInput(element, blockId, ctx, "number");
  node.step = element.is_decimal_allowed ? "any" : "1";
  if (element.min_value !== undefined) node.min = element.min_value;
  if (element.max_value !== undefined) node.max = element.max_value;
  node.inputMode = element.is_decimal_allowed ? "decimal" : "numeric";
  return node;
}

function picker(type, initial) {
  return (element, blockId, ctx) => {
    const node = el("input", { ...ids(element, blockId), type, class: "field", autofocus: element.focus_on_load, "aria-label": ctx.inInput ? null : element.placeholder?.text ?? type });
    const start = element[initial];
    node.value = kept(ctx, element, blockId, type === "datetime-local" && start ? localMinute(start) : start ?? "");
    node.addEventListener("change", () => tell(node, ctx, element, { value: fieldValue(node) }, () => {}));
    return node;
  };
}

const localMinute = (unix) => {
  const date = new Date(unix * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
};
const fieldValue = (node) => (node.type === "datetime-local" && node.value ? String(Math.floor(new Date(node.value).getTime() / 1000)) : node.value);

/** The choices of a select as groups of {value, label}; people and conversations come from the workspace. */
function choices(element, people) {
  const option = (one) => ({ value: one.value ?? "", label: labelOf(one) });
  const channel = (one) => ({ value: one.id, label: one.is_im ? "Direct messages with the app" : `#${one.name}` });
  if (element.type.includes("users_select")) {
    return [{ options: [...people.users.values()].map((user) => ({ value: user.id, label: user.real_name || user.name })) }];
  }
  if (element.type.includes("conversations_select")) return [{ options: [...people.channels.values()].map(channel) }];
  if (element.type.includes("channels_select")) return [{ options: [...people.channels.values()].filter((one) => !one.is_im && !one.is_private).map(channel) }];
  if (element.option_groups) return element.option_groups.map((group) => ({ label: group.label?.text ?? "", options: (group.options ?? []).map(option) }));
  return [{ options: (element.options ?? []).map(option) }];
}

const startOf = (element, ctx) => element.initial_option?.value ?? element.initial_user ?? element.initial_conversation ?? element.initial_channel
  ?? (element.default_to_current_conversation ? ctx.channel : "") ?? "";

function select(element, blockId, ctx) {
  const rows = choices(element, ctx.people).map(({ label, options }) => {
    const items = options.map((option) => el("option", { value: option.value }, option.label));
    return label ? el("optgroup", { label }, items) : items;
  });
  const hint = element.placeholder?.text ?? "Choose…";
  const start = startOf(element, ctx);
  const node = el("select", { class: "field", ...ids(element, blockId), autofocus: element.focus_on_load,
    "aria-label": element.accessibility_label ?? (ctx.inInput ? null : hint) }, el("option", { value: "", hidden: start, disabled: start }, hint), rows);
  node.value = kept(ctx, element, blockId, start);
  if (node.selectedIndex < 0) node.value = "";
  let before = node.value;
  node.addEventListener("change", () => {
    if (node.value === "") return;
    const detail = element.type === "static_select" || element.type === "external_select" ? { option: node.value } : { value: node.value };
    const old = before;
    before = node.value;
    tell(node, ctx, element, detail, () => { node.value = before = old; });
  });
  return node;
}

let groups = 0;

/** Checkboxes, radio buttons and multi-selects: a list of ticks, easy to hit with a thumb. */
function ticks(element, blockId, ctx) {
  const single = element.type === "radio_buttons";
  const options = element.type === "checkboxes" || single
    ? (element.options ?? []).map((option) => ({ value: option.value ?? "", label: textObject(option.text, ctx.people), detail: textObject(option.description, ctx.people) }))
    : choices(element, ctx.people).flatMap((group) => group.options);
  const initial = (element.initial_options ?? []).map((option) => option.value);
  const start = kept(ctx, element, blockId, single ? element.initial_option?.value : element.initial_users ?? element.initial_conversations ?? element.initial_channels ?? initial);
  const name = `ticks-${(groups += 1)}`;
  const rows = options.map((option) => {
    const input = el("input", { type: single ? "radio" : "checkbox", name, value: option.value, ...ids(element, blockId) });
    input.checked = single ? start === option.value : [].concat(start ?? []).includes(option.value);
    return el("label", { class: "choice" }, input, el("span", {}, option.label, option.detail?.length ? el("span", { class: "muted small choice-detail" }, option.detail) : null));
  });
  const node = el("div", { class: `ticks${options.length > 8 ? " long" : ""}`, role: single ? "radiogroup" : "group",
    "data-group": single ? "one" : "many", "data-group-block": blockId, "data-group-action": element.action_id ?? "" }, rows);
  node.dataset.blockId = blockId;
  node.addEventListener("change", (event) => tell(node, ctx, element, single ? { option: event.target.value } : { value: groupValue(node) },
    () => { event.target.checked = !event.target.checked; }));
  return node;
}

const groupValue = (group) => {
  const chosen = [...group.querySelectorAll("input:checked")].map((input) => input.value);
  return group.dataset.group === "one" ? chosen[0] ?? "" : chosen;
};

/* Everything by its type --------------------------------------------------------------------------------------------- */

/** An image that falls back to its description. */
export function picture(element, className) {
  const alt = element.alt_text ?? "";
  const missing = () => el("span", { class: `${className} missing`, role: "img", "aria-label": alt }, alt || "Image");
  const src = safeUrl(element.image_url ?? element.slack_file?.url ?? "");
  if (!src) return missing();
  const node = el("img", { class: className, src, alt, loading: "lazy", referrerpolicy: "no-referrer" });
  node.addEventListener("error", () => node.replaceWith(missing()), { once: true });
  return node;
}

const ELEMENTS = {
  button, overflow, image: (element) => picture(element, "thumb"),
  workflow_button: button, icon_button: (element, blockId, ctx) => button({ ...element, accessibility_label: element.accessibility_label ?? element.text?.text }, blockId, ctx),
  plain_text_input: textInput, number_input: numberInput,
  email_text_input: (element, blockId, ctx) => textInput(element, blockId, ctx, "email"),
  url_text_input: (element, blockId, ctx) => textInput(element, blockId, ctx, "url"),
  datepicker: picker("date", "initial_date"), timepicker: picker("time", "initial_time"), datetimepicker: picker("datetime-local", "initial_date_time"),
  static_select: select, external_select: select, users_select: select, conversations_select: select, channels_select: select,
  multi_static_select: ticks, multi_users_select: ticks, multi_conversations_select: ticks, multi_channels_select: ticks, checkboxes: ticks, radio_buttons: ticks,
  feedback_buttons: (element, blockId, ctx) => el("span", { class: "actions" }, ["positive_button", "negative_button"].filter((side) => element[side])
    .map((side) => button({ ...element[side], action_id: element.action_id }, blockId, ctx))),
};

/** An element by its type; one that we do not know is a grey box naming its type. */
export function renderElement(element, blockId, ctx) {
  const build = ELEMENTS[element?.type];
  return build ? build(element, blockId, ctx) : el("span", { class: "unknown" }, `Not shown here: ${element?.type ?? "no type"}`);
}

/** An `input` block: label, control, hint and room for an error. */
export function inputBlock(block, blockId, ctx) {
  const control = renderElement(block.element ?? {}, blockId, { ...ctx, inInput: true, dispatches: block.dispatch_action });
  const id = `in-${(groups += 1)}`;
  const grouped = control.classList.contains("ticks");
  const title = [el("span", {}, plain(block.label?.text)), block.optional && el("span", { class: "muted optional" }, " (optional)")];
  const label = grouped ? el("div", { class: "label", id }, title) : el("label", { class: "label", for: id }, title);
  if (grouped) control.setAttribute("aria-labelledby", id);
  else control.id = id;
  control.setAttribute("aria-describedby", `${id}-hint ${id}-error`);
  return el("div", { class: "input-block", "data-input-block": blockId, "data-optional": block.optional ? "yes" : null }, label, control,
    block.hint && el("div", { class: "muted small hint", id: `${id}-hint` }, plain(block.hint.text)),
    el("div", { class: "field-error", id: `${id}-error`, "data-block-id": blockId, hidden: true }));
}

/** All that the user has entered on a surface: {block_id: {action_id: string | string[]}}; a choice not made is left out. */
export function collect(root) {
  const values = {};
  const put = (block, action, value, optional) => {
    if (value !== "" || !optional) (values[block] ??= {})[action] = value;
  };
  for (const node of root.querySelectorAll("[data-group]")) put(node.dataset.groupBlock, node.dataset.groupAction, groupValue(node), true);
  for (const node of root.querySelectorAll("input[data-action-id], select[data-action-id], textarea[data-action-id]")) {
    if (node.type !== "checkbox" && node.type !== "radio") put(node.dataset.blockId, node.dataset.actionId, fieldValue(node), node.localName === "select");
  }
  return values;
}

/** Faults that Slack's own client finds before it asks the bot: {block_id: text}. */
export function faults(root) {
  const errors = {};
  for (const box of root.querySelectorAll("[data-input-block]")) {
    const group = box.querySelector("[data-group]");
    const field = box.querySelector(".field");
    const value = group ? groupValue(group) : field?.value ?? "";
    if (!value.length && !box.dataset.optional && !field?.validity?.badInput) errors[box.dataset.inputBlock] = "Please fill in this field.";
    else if (field && !field.validity.valid) errors[box.dataset.inputBlock] = field.validationMessage || "Please check this field.";
  }
  return errors;
}

/** Show each fault below its field and move to the first. */
export function showErrors(root, errors) {
  let first = null;
  for (const slot of root.querySelectorAll(".field-error")) {
    const text = errors[slot.dataset.blockId] ?? "";
    slot.hidden = !text;
    slot.textContent = text;
    const control = slot.parentElement.querySelector(".field, .ticks input");
    control?.toggleAttribute("aria-invalid", Boolean(text));
    if (text) control?.setAttribute("aria-invalid", "true");
    if (text && !first) first = control;
  }
  first?.focus();
}
