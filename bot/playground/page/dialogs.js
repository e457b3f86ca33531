/** Confirmations and modals. Both are native dialogs, in which the browser traps the focus. */

import { renderBlocks } from "./blocks.js";
import { el, icon, swap } from "./dom.js";
import { collect, formErrors, showErrors } from "./elements.js";
import { plain, textObject } from "./text.js";

/** Ask for confirmation, with Slack's confirm object. @returns {Promise<boolean>} */
export function askConfirm(confirm, people) {
  return new Promise((resolve) => {
    const danger = confirm.style === "danger";
    const dialog = el("dialog", { class: "confirm", "aria-labelledby": "confirm-title", onclose: () => finish(dialog.returnValue === "yes") },
      el("h2", { id: "confirm-title" }, plain(confirm.title?.text ?? "Are you sure?")),
      el("div", { class: "text" }, textObject(confirm.text, people)),
      el("div", { class: "dialog-foot" },
        el("button", { type: "button", class: "btn confirm-no", onclick: () => dialog.close("no") }, plain(confirm.deny?.text ?? "Cancel")),
        el("button", { type: "button", class: `btn confirm-yes ${danger ? "danger solid" : "primary"}`, onclick: () => dialog.close("yes") }, plain(confirm.confirm?.text ?? "Yes"))));
    const finish = (yes) => {
      dialog.remove();
      resolve(yes);
    };
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Close and remove a dialog. Blur and refocus afterwards: otherwise Chromium may leave a text field that ignores typing. */
function shut(dialog) {
  dialog.close();
  dialog.remove();
  const back = document.activeElement;
  back?.blur();
  back?.focus({ preventScroll: true });
}

/**
 * The user's stack of modals.
 * @param {{ctx: (view, values) => object, submit: (view, values) => Promise<object>, close: (view) => void}} actions
 *   `submit` returns the field errors: {block_id: text}
 */
export function modalStack(actions) {
  const open = new Map();

  /** Show exactly these views, the last one on top. */
  function show(views) {
    const wanted = new Set(views.map((view) => view.id));
    for (const [id, entry] of open) {
      if (wanted.has(id)) continue;
      open.delete(id);
      shut(entry.dialog);
    }
    for (const view of views) {
      const entry = open.get(view.id);
      if (!entry) add(view);
      else if (JSON.stringify(entry.view) !== JSON.stringify(view)) redraw(entry, view);
    }
    for (const [id, { dialog }] of open) dialog.classList.toggle("under", id !== views.at(-1)?.id);
  }

  function add(view) {
    const dialog = el("dialog", { class: "modal", "data-view-id": view.id, "aria-labelledby": `title-${view.id}` });
    const entry = { dialog, view, form: null, sending: false };
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      actions.close(entry.view);
    });
    open.set(view.id, entry);
    entry.form = draw(entry, {});
    dialog.append(entry.form);
    document.body.append(dialog);
    dialog.showModal();
    (dialog.querySelector("[autofocus]") ?? dialog.querySelector(".modal-body input, .modal-body select, .modal-body textarea"))?.focus();
  }

  function redraw(entry, view) {
    const values = collect(entry.form);
    const at = entry.form.querySelector(".modal-body").scrollTop;
    entry.view = view;
    const fresh = draw(entry, values);
    swap(entry.form, fresh);
    entry.form = fresh;
    fresh.querySelector(".modal-body").scrollTop = at;
  }

  function draw(entry, values) {
    const { view } = entry;
    const form = el("form", { class: "modal-form", novalidate: true, tabindex: "-1" },
      el("header", { class: "modal-head" },
        el("h2", { id: `title-${view.id}` }, plain(view.title?.text)),
        el("button", { type: "button", class: "plain modal-close", "aria-label": "Close", onclick: () => actions.close(entry.view) }, icon("close"))),
      el("div", { class: "modal-body" }, renderBlocks(view.blocks, actions.ctx(view, values))),
      el("footer", { class: "dialog-foot" },
        el("button", { type: "button", class: "btn modal-cancel", onclick: () => actions.close(entry.view) }, plain(view.close?.text ?? (view.submit ? "Cancel" : "Close"))),
        view.submit && el("button", { type: "submit", class: "btn primary submit", "aria-busy": entry.sending ? "true" : null }, plain(view.submit.text))));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (view.submit) send(entry);
    });
    return form;
  }

  async function send(entry) {
    if (entry.sending) return;
    const invalid = formErrors(entry.form);
    showErrors(entry.form, invalid);
    if (Object.keys(invalid).length) return;
    entry.sending = true;
    entry.form.querySelector(".submit").setAttribute("aria-busy", "true");
    const errors = await actions.submit(entry.view, collect(entry.form));
    entry.sending = false;
    entry.form.querySelector(".submit")?.removeAttribute("aria-busy");
    showErrors(entry.form, errors);
  }

  return { show };
}
