/** The `rich_text` block as DOM. */

import { el } from "./dom.js";
import { dateNode, emoji, link, mention, plain } from "./text.js";

const WRAPS = [["code", "code"], ["bold", "strong"], ["italic", "em"], ["strike", "s"], ["underline", "u"]];

const styled = (style, ...nodes) => WRAPS.reduce((inner, [name, tag]) => (style?.[name] ? [el(tag, {}, inner)] : inner), nodes);

const INLINE = {
  text: (one) => [one.text ?? ""],
  link: (one) => [link(one.url, one.text || one.url)],
  user: (one, people) => [mention("user", one.user_id, "", people)],
  usergroup: (one, people) => [mention("group", one.usergroup_id, "", people)],
  channel: (one, people) => [mention("channel", one.channel_id, "", people)],
  broadcast: (one, people) => [mention("broadcast", one.range ?? "channel", "", people)],
  emoji: (one) => [emoji(one.name ?? "") ?? one.unicode?.split("-").map((part) => String.fromCodePoint(parseInt(part, 16))).join("") ?? `:${one.name}:`],
  date: (one) => [dateNode(one.timestamp, one.format ?? "{date}", one.fallback, one.url)],
  color: (one) => [one.value ?? ""],
  tag: (one) => [el("span", { class: `tag tag-${one.color ?? "gray"}` }, one.text ?? "")],
};

function inline(elements, people) {
  return (elements ?? []).map((one) => {
    const build = INLINE[one.type];
    return build ? styled(one.style, ...build(one, people)) : el("span", { class: "unknown" }, one.type ?? "");
  });
}

const BLOCKS = {
  rich_text_section: (part, people) => el("div", { class: "par" }, inline(part.elements, people)),
  rich_text_quote: (part, people) => el("blockquote", { class: "par" }, inline(part.elements, people)),
  rich_text_preformatted: (part, people) => el("pre", {}, inline(part.elements, people)),
  rich_text_list: (part, people) => el(part.style === "ordered" ? "ol" : "ul", { class: `indent-${Math.min(8, part.indent ?? 0)}`, start: part.offset ? part.offset + 1 : null },
    (part.elements ?? []).map((item) => el("li", {}, item.elements ? inline(item.elements, people) : plain(item.text ?? "")))),
};

/** The parts of a rich text, in order. */
export function richText(block, people) {
  return el("div", { class: "rich" }, (block.elements ?? []).map((part) =>
    BLOCKS[part.type]?.(part, people) ?? el("span", { class: "unknown" }, `Not shown here: ${part.type}`)));
}
