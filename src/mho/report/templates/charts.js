"use strict";
// What marks of charts say: shown at once when pointed at, and by the arrow keys. Without this script browsers show it as titles.
(() => {
  const tip = document.createElement("div");
  tip.className = "chart-tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);
  let active = null;

  function show(mark) {
    if (active) active.classList.remove("active");
    active = mark;
    tip.hidden = !mark;
    if (!mark) return;
    mark.classList.add("active");
    tip.textContent = mark.dataset.says;
    const place = mark.getBoundingClientRect();
    const left = Math.min(place.right + 8, document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(8, left) + scrollX}px`;
    tip.style.top = `${scrollY + (place.top > tip.offsetHeight + 12 ? place.top - tip.offsetHeight - 6 : place.bottom + 6)}px`;
  }

  for (const svg of document.querySelectorAll(".chart svg")) {
    const marks = [...svg.querySelectorAll(".mark")];
    for (const mark of marks) {
      const title = mark.querySelector("title");
      mark.dataset.says = title.textContent;
      title.remove();
      mark.addEventListener("pointerenter", () => show(mark));
      mark.addEventListener("pointerleave", () => show(null));
    }
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    svg.addEventListener("keydown", (event) => {
      if (event.key === "Escape") show(null);
      if (!(event.key in steps) || !marks.length) return;
      event.preventDefault();
      const from = marks.indexOf(active);
      const to = from < 0 ? 0 : (from + steps[event.key] + marks.length) % marks.length;
      marks[to].scrollIntoView({ block: "nearest", inline: "nearest" });
      show(marks[to]);
    });
    svg.addEventListener("blur", () => show(null));
  }
})();
