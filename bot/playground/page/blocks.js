/** Block Kit as DOM: one function per block type. A surface's `ctx` is described in elements.js. */

import { el } from "./dom.js";
import { inputBlock, renderElement, unsupported } from "./elements.js";
import { chart, dataTable } from "./tables.js";
import { textObject } from "./text.js";

function section(block, blockId, ctx) {
  const fields = block.fields?.length
    && el("div", { class: "fields" }, block.fields.map((field) => el("div", { class: "text" }, textObject(field, ctx.people))));
  const accessory = block.accessory && el("div", { class: "accessory" }, renderElement(block.accessory, blockId, ctx));
  return el("div", { class: "section" }, el("div", { class: "section-body" },
    block.text && el("div", { class: "text" }, textObject(block.text, ctx.people)), fields), accessory);
}

function context(block, _, ctx) {
  return el("div", { class: "context" }, (block.elements ?? []).map((one) => el("span", { class: "text" }, textObject(one, ctx.people))));
}

function actions(block, blockId, ctx) {
  return el("div", { class: "actions" }, (block.elements ?? []).map((one) => renderElement(one, blockId, ctx)));
}

const BLOCKS = {
  section, context, actions, data_table: dataTable, data_visualization: chart, input: inputBlock,
  header: (block, _, ctx) => el("h3", { class: "header" }, textObject(block.text, ctx.people)),
  divider: () => el("hr", { class: "divider" }),
};

/** All blocks of a surface, in order. */
export function renderBlocks(blocks, ctx) {
  return (blocks ?? []).map((block, index) => {
    const build = BLOCKS[block?.type];
    const node = build ? build(block, block.block_id ?? String(index), ctx) : unsupported(block);
    node.classList.add("block");
    node.dataset.block = block?.type ?? "";
    return node;
  });
}
