// Keeps the page true while it is open. Without it everything works by loading pages.
"use strict";

const MAX_ROWS = 200;
const REFRESH_MS = 3000;
const stale = document.getElementById("stale");

function showStale(since) {
  stale.hidden = since === null;
  const text = since && `The manager has not answered since ${since.toLocaleTimeString()}. What is shown is old.`;
  if (since && stale.textContent !== text) stale.textContent = text;
}

// The overview: fetched again, put in only if it differs and nobody is at work in it.
const overview = document.querySelector("[data-refresh]");
let answered = new Date();
let shown = null;

async function refresh() {
  try {
    const answer = await fetch(overview.dataset.refresh, { redirect: "error", signal: AbortSignal.timeout(10000) });
    if (answer.status === 401) return location.reload();
    if (!answer.ok) throw new Error(answer.status);
    const html = await answer.text();
    answered = new Date();
    showStale(null);
    if (html !== shown && !overview.contains(document.activeElement) && String(getSelection()) === "") {
      overview.innerHTML = html;
      shown = html;
    }
  } catch {
    if (Date.now() - answered > 2 * REFRESH_MS) showStale(answered);
  }
  setTimeout(refresh, REFRESH_MS);
}
if (overview) setTimeout(refresh, REFRESH_MS);

// Events: rows arrive rendered and escaped; the newest comes first.
const table = document.querySelector("[data-stream]");
if (table) {
  const rows = table.tBodies[0];
  const state = document.getElementById("live-state");
  const pause = document.getElementById("pause");
  let held = [];

  function say(text, kind) {
    if (state.textContent !== text) state.textContent = text;
    state.className = kind;
  }

  function put(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    for (const row of [...template.content.querySelectorAll("tr")].reverse()) {
      if (rows.querySelector(`tr[data-id="${row.dataset.id}"]`)) continue;
      row.classList.add("fresh");
      rows.prepend(row);
    }
    while (rows.rows.length > MAX_ROWS) rows.lastElementChild.remove();
    document.getElementById("none").hidden = rows.rows.length > 0;
  }

  const source = new EventSource(`${table.dataset.stream}&after=${table.dataset.after}`);
  source.onopen = () => say(paused() ? "Paused" : "Live", paused() ? "paused" : "");
  source.onerror = () => say("Not live: the connection was lost, trying again", "off");
  source.onmessage = (message) => {
    if (paused()) {
      held = [...held, message.data].slice(-MAX_ROWS);
      say("Paused, newer events are waiting", "paused");
    } else put(message.data);
  };
  const paused = () => pause.getAttribute("aria-pressed") === "true";
  pause.addEventListener("click", () => {
    const now = !paused();
    pause.setAttribute("aria-pressed", now);
    pause.textContent = now ? "Go on" : "Pause";
    say(now ? "Paused" : "Live", now ? "paused" : "");
    if (!now) held.splice(0).forEach(put);
  });
  addEventListener("pagehide", () => source.close());
}

// The override form of an event's page, in a dialog.
const dialog = document.getElementById("dialog");
document.addEventListener("click", async (click) => {
  const link = click.target.closest("a[data-dialog]");
  if (link && !click.ctrlKey && !click.metaKey && !click.shiftKey) {
    click.preventDefault();
    try {
      const answer = await fetch(link.href);
      const form = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("override");
      if (!answer.ok || !form) return location.assign(link.href);
      dialog.replaceChildren(document.adoptNode(form));
      dialog.showModal();
      dialog.querySelector("input[type=radio]:checked").focus();
    } catch {
      location.assign(link.href);
    }
  }
  if (dialog.open && (click.target.closest("[data-close]") || click.target === dialog)) {
    click.preventDefault();
    dialog.close();
  }
  const copy = click.target.closest("[data-copy]");
  if (copy) {
    await navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent);
    copy.textContent = "Copied";
  }
});
