// A table of many tasks: only the rows in sight are there; others are fetched by pages.
(() => {
  "use strict";
  const HIGH = 28, PAGE = 100, KEPT = 20;

  class Rows {
    constructor(box) {
      this.box = box;
      this.body = box.querySelector("tbody");
      this.url = box.dataset.items;
      this.total = Number(box.dataset.total);
      this.pages = new Map();  // number of a page -> its rows, the last used one at the end
      this.asked = new Set();
      this.shown = "";
      const first = Number(box.dataset.offset);
      box.classList.add("live");
      box.tabIndex = 0;
      box.setAttribute("hx-morph-skip", "");
      this.alone();
      if (first % PAGE === 0) this.pages.set(first / PAGE, [...this.body.rows]);
      box.addEventListener("scroll", () => this.soon(), { passive: true });
      box.scrollTop = first * HIGH;
      this.draw();
    }

    // Hides what is for browsers without JavaScript.
    alone() {
      this.box.parentElement.querySelectorAll(".rows, .pages").forEach((e) => { e.hidden = true; });
    }

    // Something changed: what is in sight is fetched again, a moment later.
    changed() {
      const said = this.box.parentElement.querySelector(".total");
      if (said) this.total = Number(said.dataset.total);
      this.alone();
      clearTimeout(this.later);
      this.later = setTimeout(() => this.wanted().forEach((n) => this.fetch(n)), 700);
    }

    soon() {
      if (this.waits) return;
      this.waits = true;
      requestAnimationFrame(() => { this.waits = false; this.draw(); });
    }

    // The pages in sight, and one before and behind.
    wanted() {
      const top = this.box.scrollTop, last = Math.max(0, Math.ceil(this.total / PAGE) - 1);
      const from = Math.floor((top - 4 * HIGH) / (HIGH * PAGE));
      const to = Math.floor((top + this.box.clientHeight + 4 * HIGH) / (HIGH * PAGE));
      const found = [];
      for (let n = Math.max(0, from); n <= Math.min(last, to); n++) found.push(n);
      return found.length ? found : [last];
    }

    draw() {
      const wanted = this.wanted();
      wanted.forEach((n) => { if (!this.pages.has(n)) this.fetch(n); });
      const key = wanted.map((n) => n + (this.pages.has(n) ? "+" : "-")).join();
      if (key === this.shown) return;
      this.shown = key;
      const rows = [this.room(wanted[0] * PAGE)];
      let end = wanted[0] * PAGE;
      for (const n of wanted) {
        const count = Math.min(PAGE, this.total - n * PAGE), page = this.pages.get(n);
        if (page) {
          this.pages.delete(n);
          this.pages.set(n, page);
          rows.push(...page);
        } else rows.push(this.room(count));
        end = n * PAGE + count;
      }
      rows.push(this.room(this.total - end));
      this.body.replaceChildren(...rows);
    }

    room(count) {
      const row = document.createElement("tr"), cell = row.insertCell();  // as high as some rows
      row.className = "room";
      row.setAttribute("aria-hidden", "true");
      cell.colSpan = 7;
      cell.style.height = Math.max(0, count) * HIGH + "px";
      return row;
    }

    async fetch(n) {
      if (this.asked.has(n)) return;
      this.asked.add(n);
      try {
        const url = new URL(this.url, location.href);
        url.searchParams.set("offset", n * PAGE);
        const answer = await fetch(url);
        if (!answer.ok) return;
        const made = document.createElement("tbody");
        made.innerHTML = await answer.text();
        this.pages.delete(n);
        this.pages.set(n, [...made.rows]);
        this.shown = "";
        while (this.pages.size > KEPT) this.pages.delete(this.pages.keys().next().value);
        this.draw();
      } catch { /* the next look asks again */ } finally {
        this.asked.delete(n);
      }
    }
  }

  const all = [];
  const begin = () => {
    for (const box of document.querySelectorAll(".items[data-items]")) {
      const isLong = Number(box.dataset.total) > PAGE;
      if (isLong && !box.classList.contains("live")) all.push(new Rows(box));
    }
  };
  document.addEventListener("htmx:sse:after:message", () => {
    begin();
    all.filter((rows) => rows.box.isConnected).forEach((rows) => rows.changed());
  });
  document.addEventListener("DOMContentLoaded", begin);
  if (document.readyState !== "loading") begin();
})();
