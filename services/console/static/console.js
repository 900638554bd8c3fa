// What pages do by themselves: keep the session, remember the theme, and the keys.
window.basestock = {
  keepTheme(theme) {
    document.cookie = `basestock_theme=${theme}; path=/; max-age=31536000; samesite=lax`;
  },
  async signOut() {
    await fetch("/sign-out", { method: "POST", redirect: "manual" });
    location.assign("/sign-in");
  },
  // Pages may write to the clipboard over HTTPS and on this machine; else what is to be copied is marked.
  async copy(text, field) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      field.querySelector("input")?.select();
      field.select?.();
      return false;
    }
  },
  // The answer sets the new session, so the browser asks itself.
  async changePassword(passwords) {
    const answer = await fetch("/session/password", { method: "POST", body: new URLSearchParams(passwords) });
    return answer.json();
  },
  // Keys that are pressed while a row is being saved belong to the next one: they are held back until it is there.
  heldKeys: null,
  holdKeys() {
    this.heldKeys = [];
  },
  async releaseKeys(field = document.activeElement) {
    const keys = this.heldKeys ?? [];
    while (keys.length) {
      const key = keys.shift();
      if (key !== "Enter") {
        document.execCommand("insertText", false, key);
        continue;
      }
      // A field tells what is in it a tick later.
      await new Promise((resolve) => setTimeout(resolve));
      const rest = keys.splice(0);
      field.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
      this.heldKeys.push(...rest);
      return;
    }
    this.heldKeys = null;
  },
  // Put an open menu beside a cell, and begin with the field in it.
  putBeside(cellId, menuId, fieldId) {
    const cell = document.getElementById(cellId);
    cell?.scrollIntoView({ block: "nearest" });
    const begin = (attempt) => {
      const field = document.getElementById(`c${fieldId}`);
      if (!field && attempt < 50) return setTimeout(begin, 20, attempt + 1);
      getElement(menuId)?.updatePosition();
      field.focus();
      field.select();
      this.releaseKeys(field);
    };
    requestAnimationFrame(() => begin(0));
  },
  // A page is of whoever opened it: when somebody else has signed in meanwhile, in another window, it is not theirs.
  holder: document.currentScript.dataset.holder,
  async renew() {
    const answer = await fetch("/session/renew", { method: "POST" });
    const isOver = answer.status === 401 || (answer.ok && (await answer.json()).holder !== this.holder);
    if (isOver) location.reload();
  },
};
// A user's token lives for 15 minutes unless set otherwise, for one at least.
setInterval(() => window.basestock.renew().catch(() => {}), 25_000);
document.addEventListener("keydown", (event) => {
  const inField = event.target.closest("input, textarea, select, [contenteditable=true]");
  if (event.key === "/" && !inField && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const field = document.querySelector(".page-search input, .search input");
    if (field) {
      event.preventDefault();
      field.focus();
      field.select();
    }
  }
});
document.addEventListener(
  "keydown",
  (event) => {
    const held = window.basestock.heldKeys;
    const isKept = event.key.length === 1 || event.key === "Enter";
    if (!held || !event.isTrusted || !isKept || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    held.push(event.key);
  },
  true,
);
// A double click is one click, where it would do something twice; going from page to page may be quick.
document.addEventListener(
  "click",
  (event) => {
    if (event.detail < 2 || !event.target.closest("button, .q-btn") || event.target.closest(".pager, .sorter")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  },
  true,
);
// Up and down go from row to row in a column of numbers that can be changed.
document.addEventListener("keydown", (event) => {
  const cell = event.target.closest(".cell-edit");
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!cell || !step) return;
  const column = [...cell.closest("table").querySelectorAll(`.cell-edit[data-column="${cell.dataset.column}"]`)];
  event.preventDefault();
  column[column.indexOf(cell) + step]?.focus();
});
// Moments are shown in the browser's time zone.
document.cookie = `basestock_zone=${encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone)}; path=/; max-age=31536000; samesite=lax`;
