/** Block Kit as DOM: one function per block type. What a surface offers (`ctx`) is told in elements.js. */

import { el, icon } from "./dom.js";
import { button, inputBlock, picture, renderElement } from "./elements.js";
import { markdown } from "./markdown.js";
import { richText } from "./richtext.js";
import { chart, dataTable, table } from "./tables.js";
import { plain, textObject } from "./text.js";

function section(block, blockId, ctx) {
  const fields = block.fields?.length
    && el("div", { class: "fields" }, block.fields.map((field) => el("div", { class: "text" }, textObject(field, ctx.people))));
  const accessory = block.accessory && el("div", { class: `accessory accessory-${block.accessory.type}` }, renderElement(block.accessory, blockId, ctx));
  return el("div", { class: "section" }, el("div", { class: "section-body" },
    block.text && el("div", { class: "text" }, textObject(block.text, ctx.people)), fields), accessory);
}

function header(block, _, ctx) {
  const level = Math.min(6, (block.level ?? 1) + 2);
  return el(`h${level}`, { class: `header level-${block.level ?? 1}` }, textObject(block.text, ctx.people));
}

function context(block, _, ctx) {
  return el("div", { class: "context" }, (block.elements ?? []).map((one) =>
    (one.type === "image" ? picture(one, "context-image") : el("span", { class: "text" }, textObject(one, ctx.people)))));
}

function actions(block, blockId, ctx) {
  return el("div", { class: "actions" }, (block.elements ?? []).map((one) => renderElement(one, blockId, ctx)));
}

function image(block, _, ctx) {
  return el("figure", { class: "figure" }, block.title && el("figcaption", { class: "muted small" }, textObject(block.title, ctx.people)), picture(block, "picture"));
}

const ALERT_ICONS = { warning: "warning", error: "warning", success: "check" };

function alert(block, _, ctx) {
  const level = block.level ?? "default";
  return el("div", { class: `alert alert-${level}`, role: level === "error" || level === "warning" ? "alert" : "note" },
    icon(ALERT_ICONS[level] ?? "info"), el("div", { class: "text" }, textObject(block.text, ctx.people)));
}

function card(block, blockId, ctx) {
  const line = (name) => block[name] && el("div", { class: `card-${name} text` }, textObject(block[name], ctx.people));
  const mark = block.icon ? picture(block.icon, "card-icon") : block.slack_icon && el("span", { class: "card-icon" }, icon(block.slack_icon.name));
  return el("div", { class: "card" }, block.hero_image && picture(block.hero_image, "hero"),
    el("div", { class: "card-head" }, mark, el("div", {}, line("title"), line("subtitle"))), line("body"), line("subtext"),
    block.actions?.length && el("div", { class: "actions" }, block.actions.map((one) => button(one, blockId, ctx))));
}

function carousel(block, blockId, ctx) {
  const cards = block.elements ?? block.cards ?? [];
  return el("div", { class: "carousel", tabindex: "0", role: "region", "aria-label": "Cards" }, cards.map((one) => card(one, one.block_id ?? blockId, ctx)));
}

function container(block, blockId, ctx) {
  const title = el("span", { class: "container-title" },
    el("span", {}, block.rich_text_title ? richText(block.rich_text_title, ctx.people) : textObject(block.title, ctx.people)),
    block.subtitle && el("span", { class: "muted small" }, textObject(block.subtitle, ctx.people)));
  const body = el("div", { class: "container-body" }, renderBlocks(block.child_blocks, ctx, blockId));
  const mark = block.icon && picture(block.icon, "context-image");
  if (!block.is_collapsible) {
    return el("section", { class: `container${block.has_header_divider ? " divided" : ""}` }, el("div", { class: "container-head" }, mark, title), body);
  }
  const open = ctx.memory.get(`open ${blockId}`) ?? !block.default_collapsed;
  const node = el("details", { class: "container", open }, el("summary", { class: "container-head" }, mark, title), body);
  node.addEventListener("toggle", () => ctx.memory.set(`open ${blockId}`, node.open));
  return node;
}

const BLOCKS = {
  section, header, context, actions, image, alert, card, carousel, container, table,
  context_actions: actions, data_table: dataTable, data_visualization: chart, input: inputBlock,
  divider: () => el("hr", { class: "divider" }),
  rich_text: (block, _, ctx) => richText(block, ctx.people),
  markdown: (block) => el("div", { class: "markdown" }, markdown(block.text)),
  plain_text: (block) => el("div", { class: "text" }, plain(block.text)),
};

/** All blocks of a surface, in order; `within` is the id of the block around them. A type that we do not know is a grey box naming it. */
export function renderBlocks(blocks, ctx, within = "") {
  return (blocks ?? []).map((block, at) => {
    const build = BLOCKS[block?.type];
    const blockId = block?.block_id ?? (within || String(at));
    const node = build ? build(block, blockId, ctx) : el("div", { class: "unknown" }, `Not shown here: a block of type ${block?.type ?? "none"}`);
    node.classList.add("block");
    node.dataset.block = block?.type ?? "";
    return node;
  });
}
