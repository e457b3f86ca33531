/** Presses: what a surface passes to its blocks; each control sends one request at a time. */

import { askConfirm } from "./dialogs.js";
import { collect } from "./elements.js";

const keyFor = (surface, blockId, actionId, option) => [surface, blockId, actionId, option ?? ""].join("\u0000");

function mark(node, key) {
  node.setAttribute("aria-busy", "true");
  node.dataset.busy = key;
}

/** Remove the busy state from the control, however often it was redrawn meanwhile. */
function unmark(key) {
  for (const node of document.querySelectorAll("[data-busy]")) {
    if (node.dataset.busy !== key) continue;
    node.removeAttribute("aria-busy");
    delete node.dataset.busy;
  }
}

/**
 * Make the `ctx` of surfaces (described in elements.js).
 * @param {{people: () => object, send: (path: string, body: object) => Promise<object|null>}} page
 */
export function presses({ people, send }) {
  const memory = new Map();
  const inflight = new Set();

  /** `id` is the surface's own, `where` names it to the server, `root` finds the element that contains its inputs. */
  function surface(id, where, root, values) {
    return {
      people: people(), values,
      memory: { get: (key) => memory.get(`${id} ${key}`), set: (key, value) => memory.set(`${id} ${key}`, value) },
      busyKey(blockId, actionId, option) {
        const key = keyFor(id, blockId, actionId, option);
        return inflight.has(key) ? key : "";
      },
      async press(node, detail, confirm) {
        const key = keyFor(id, detail.block_id, detail.action_id, node.matches("button:not(.overflow)") ? detail.value : "");
        if (inflight.has(key)) return false;
        inflight.add(key);
        try {
          if (confirm && !(await askConfirm(confirm, people()))) return false;
          mark(node, key);
          await send("press", { ...where, ...detail, values: collect(root(node) ?? node) });
          return true;
        } finally {
          inflight.delete(key);
          unmark(key);
        }
      },
    };
  }

  return { surface, forget: () => memory.clear() };
}
