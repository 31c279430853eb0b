"use strict";
(() => {
  const data = JSON.parse(document.getElementById("timeline-data").textContent);
  const host = document.getElementById("timeline");
  const overview = host.querySelector(".overview"), rows = host.querySelector(".rows");
  const canvas = rows.querySelector("canvas"), space = rows.querySelector(".space"), tip = document.getElementById("tip");
  const AXIS = 26, CLOSED = 30, TITLE = 24, PAD = 4;
  const gutter = () => Math.min(230, Math.max(150, rows.clientWidth * 0.24));
  const groups = data.groups.map((group) => ({ ...group, open: false }));
  const view = { start: 0, end: data.total };
  let palette = {};

  const laneHeight = (group) => (group.rows.length > 64 ? 6 : 13);
  const heightOf = (group) => (group.open ? TITLE + group.rows.length * laneHeight(group) + PAD : CLOSED);

  function readPalette() {
    const style = getComputedStyle(document.documentElement);
    const names = ["card", "text", "muted", "grid", "line", "found", "soft", "page"];
    palette = Object.fromEntries(names.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
    palette.font = getComputedStyle(document.body).fontFamily;
  }

  function formatTime(ticks, step) {
    const ps = ticks * data.unit_ps;
    if (ps === 0) return "0";
    const [unit, size] = ps < 1e6 ? ["ns", 1e3] : ps < 1e9 ? ["µs", 1e6] : ps < 1e12 ? ["ms", 1e9] : ["s", 1e12];
    const resolution = ((step ?? 0) * data.unit_ps) / size;
    const digits = resolution > 0 ? Math.min(6, Math.max(0, -Math.floor(Math.log10(resolution) + 1e-9))) : 3;
    const text = (ps / size).toFixed(digits);
    return (step === undefined ? String(Number(text)) : text) + "\u202f" + unit;
  }

  function fit(target, width, height) {
    const ratio = window.devicePixelRatio || 1;
    if (target.width !== Math.round(width * ratio) || target.height !== Math.round(height * ratio)) {
      target.width = Math.round(width * ratio);
      target.height = Math.round(height * ratio);
      target.style.height = height + "px";
    }
    const context = target.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    return context;
  }

  function niceStep(span, count) {
    const rough = (span * data.unit_ps) / count, power = 10 ** Math.floor(Math.log10(rough));
    const factor = [1, 2, 5, 10].find((candidate) => candidate * power >= rough);
    return (factor * power) / data.unit_ps;
  }

  // Ends of names tell more than their beginnings.
  function shorten(context, text, width) {
    if (context.measureText(text).width <= width) return text;
    let low = 0, high = text.length;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (context.measureText("…" + text.slice(-middle)).width <= width) low = middle;
      else high = middle - 1;
    }
    return low ? "…" + text.slice(-low) : "";
  }

  function drawLanes(context, group, top, height, left, width) {
    const scale = width / (view.end - view.start), number = group.rows.length, each = height / number;
    group.rows.forEach((lane, place) => {
      const y = top + place * each, shown = Math.max(each - (each > 4 ? 1 : 0), 0.35);
      const work = lane.work;
      for (let i = 0; i < work.length; i += 5) {
        const begin = work[i], end = begin + work[i + 1];
        if (end < view.start || begin > view.end) continue;
        const x = Math.max(left, left + (begin - view.start) * scale);
        const stop = Math.min(left + width, left + (end - view.start) * scale);
        context.globalAlpha = 0.3 + (0.7 * work[i + 4]) / 1000;
        context.fillStyle = isWrite(work, i) ? palette.muted : data.hues[work[i + 2] % data.hues.length];
        context.fillRect(x, y, Math.max(stop - x, 0.5), shown);
      }
    });
    context.globalAlpha = 1;
  }

  function drawCurve(context, bins, below, colour, left, plot, height) {
    const heightAt = (share) => height - 1 - share * (height - 8), scale = plot / bins.length;
    context.beginPath();
    bins.forEach((share, place) => {
      const y = heightAt(share + (below[place] ?? 0));
      context.lineTo(left + place * scale, y);
      context.lineTo(left + (place + 1) * scale, y);
    });
    for (let place = bins.length - 1; place >= 0; place--) {
      const y = below.length ? heightAt(below[place]) : height;
      context.lineTo(left + (place + 1) * scale, y);
      context.lineTo(left + place * scale, y);
    }
    context.globalAlpha = 0.55;
    context.fillStyle = colour;
    context.fill();
    context.globalAlpha = 1;
  }

  function drawOverview() {
    const width = overview.clientWidth, height = 54, left = gutter(), context = fit(overview, width, height);
    const plot = width - left, most = data.crossbars;
    context.fillStyle = palette.muted;
    context.font = "12px " + palette.font;
    context.textBaseline = "middle";
    context.fillText(left < 130 ? "at work" : "crossbars at work", 10, height / 2 - 8);
    context.fillText("of " + most.toLocaleString("en"), 10, height / 2 + 8);
    context.fillStyle = palette.grid;
    context.fillRect(left, 0, 1, height);
    drawCurve(context, data.activity, [], palette.found, left, plot, height);
    drawCurve(context, data.written, data.activity, palette.muted, left, plot, height);
    if (view.start > 0 || view.end < data.total) {
      const from = left + (view.start / data.total) * plot, to = left + (view.end / data.total) * plot;
      context.fillStyle = palette.page;
      context.globalAlpha = 0.72;
      context.fillRect(left, 0, from - left, height);
      context.fillRect(to, 0, left + plot - to, height);
      context.globalAlpha = 1;
      context.strokeStyle = palette.found;
      context.strokeRect(from + 0.5, 0.5, Math.max(to - from - 1, 1), height - 1);
    }
  }

  function drawRows() {
    const total = AXIS + groups.reduce((sum, group) => sum + heightOf(group), 0);
    const width = rows.clientWidth, height = Math.min(total, Math.round(window.innerHeight * 0.72));
    space.style.height = Math.max(0, total - height) + "px";
    const context = fit(canvas, width, height), left = gutter(), plot = width - left - 1;
    const step = niceStep(view.end - view.start, Math.max(2, plot / 110));
    let y = AXIS - rows.scrollTop;
    context.font = "13px " + palette.font;
    context.textBaseline = "middle";
    groups.forEach((group, number) => {
      const size = heightOf(group);
      if (y + size > AXIS && y < height) drawGroup(context, group, number, y, size, left, plot, width);
      y += size;
    });
    drawAxis(context, step, left, plot, height, width);
  }

  function drawGroup(context, group, number, y, size, left, plot, width) {
    context.fillStyle = number % 2 ? palette.card : palette.soft;
    context.globalAlpha = number % 2 ? 1 : 0.45;
    context.fillRect(0, y, width, size);
    context.globalAlpha = 1;
    const title = group.open ? TITLE : size, middle = y + title / 2;
    const count = "×" + group.count.toLocaleString("en");
    context.fillStyle = palette.muted;
    context.fillText(group.open ? "▾" : "▸", 8, middle);
    const room = context.measureText(count).width;
    context.fillText(count, left - room - 10, middle);
    context.fillStyle = palette.text;
    context.fillText(shorten(context, group.name, left - room - 44), 24, middle);
    if (!group.open) {
      drawLanes(context, group, y + PAD, size - 2 * PAD, left, plot);
      return;
    }
    const each = laneHeight(group);
    drawLanes(context, group, y + TITLE, group.rows.length * each, left, plot);
    if (each < 12) return;
    context.font = "11px " + palette.font;
    context.fillStyle = palette.muted;
    group.rows.forEach((lane, place) => {
      const name = lane.name.startsWith(group.name + ", ") ? lane.name.slice(group.name.length + 2) : lane.name;
      context.fillText(shorten(context, name, left - 46), 36, y + TITLE + (place + 0.5) * each);
    });
    context.font = "13px " + palette.font;
  }

  function drawAxis(context, step, left, plot, height, width) {
    context.fillStyle = palette.card;
    context.fillRect(0, 0, width, AXIS);
    context.font = "12px " + palette.font;
    context.textBaseline = "middle";
    const scale = plot / (view.end - view.start);
    for (let k = Math.ceil(view.start / step - 1e-9); k * step <= view.end; k++) {
      const x = Math.round(left + (k * step - view.start) * scale) + 0.5;
      context.globalAlpha = 0.6;
      context.fillStyle = palette.grid;
      context.fillRect(x - 0.5, AXIS, 1, height - AXIS);
      context.globalAlpha = 1;
      context.fillStyle = palette.muted;
      const text = formatTime(k * step, step), room = context.measureText(text).width;
      if (x + 4 + room < width) context.fillText(text, x + 4, AXIS / 2);
      context.fillStyle = palette.line;
      context.fillRect(x - 0.5, AXIS - 7, 1, 7);
    }
    context.fillStyle = palette.line;
    context.fillRect(0, AXIS - 1, width, 1);
    context.fillRect(left - 1, 0, 1, height);
  }

  let pending = false;
  function draw() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      drawRows();
      drawOverview();
    });
  }

  function show(start, end) {
    const least = Math.min(data.total, Math.max(8, data.total * 1e-6));
    const span = Math.min(Math.max(end - start, least), data.total), middle = (start + end) / 2;
    view.start = Math.min(Math.max(middle - span / 2, 0), data.total - span);
    view.end = view.start + span;
    draw();
  }

  function zoom(factor, at = (view.start + view.end) / 2) {
    const span = (view.end - view.start) * factor, share = (at - view.start) / (view.end - view.start);
    show(at - share * span, at + (1 - share) * span);
  }

  const timeAt = (x) => view.start + ((x - gutter()) / (rows.clientWidth - gutter() - 1)) * (view.end - view.start);

  const isWrite = (work, i) => work[i + 3] === 0;

  function find(event) {
    const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let top = AXIS - rows.scrollTop;
    if (y < AXIS) return { x };
    for (const group of groups) {
      const size = heightOf(group);
      if (y < top + size) {
        const [begin, height] = group.open ? [top + TITLE, group.rows.length * laneHeight(group)] : [top + PAD, size - 2 * PAD];
        const place = Math.floor(((y - begin) / height) * group.rows.length);
        return { x, group, place: place >= 0 && place < group.rows.length ? place : undefined };
      }
      top += size;
    }
    return { x };
  }

  function findWork(group, place, time, slack) {
    const work = group.rows[place].work;
    for (let i = 0; i < work.length; i += 5) {
      if (time >= work[i] - slack && time <= work[i] + work[i + 1] + slack) return i;
    }
    return undefined;
  }

  function line(text, tag = "div") {
    const element = document.createElement(tag);
    element.textContent = text;
    return element;
  }

  function hover(event) {
    const { x, group, place } = find(event);
    if (!group) return hide();
    const parts = [line(group.name, "b")];
    if (x < gutter()) {
      parts.push(line(group.words));
    } else if (place !== undefined) {
      const slack = (2 * (view.end - view.start)) / rows.clientWidth, i = findWork(group, place, timeAt(x), slack);
      if (i === undefined) return hide();
      const lane = group.rows[place], work = lane.work, label = data.labels[work[i + 2]];
      const busy = work[i + 4] < 1000 ? ", busy " + (work[i + 4] / 10).toFixed(1) + " %" : "";
      parts[0].textContent = lane.name;
      if (label !== undefined) parts[0].textContent += ", " + label;
      parts.push(line(formatTime(work[i]) + " – " + formatTime(work[i] + work[i + 1])));
      parts.push(line(isWrite(work, i) ? "written" : work[i + 3] + " " + data.unit + (work[i + 3] > 1 ? "s" : "") + busy));
    } else return hide();
    tip.replaceChildren(...parts);
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.min(event.clientX + 14, window.innerWidth - box.width - 8) + "px";
    tip.style.top = (event.clientY + 16 + box.height > window.innerHeight ? event.clientY - box.height - 10 : event.clientY + 16) + "px";
  }

  function hide() {
    tip.hidden = true;
  }

  function showGroup(group) {
    let start = Infinity, end = 0;
    for (const lane of group.rows) {
      for (let i = 0; i < lane.work.length; i += 5) {
        start = Math.min(start, lane.work[i]);
        end = Math.max(end, lane.work[i] + lane.work[i + 1]);
      }
    }
    if (end > start) show(start - 0.03 * (end - start), end + 0.03 * (end - start));
  }

  function listen() {
    let drag = null;
    canvas.addEventListener("pointerdown", (event) => {
      const found = find(event);
      if (event.button !== 0) return;
      if (found.group && found.x < gutter()) {
        found.group.open = !found.group.open;
        return draw();
      }
      drag = { x: event.clientX, start: view.start, end: view.end };
      canvas.setPointerCapture(event.pointerId);
      canvas.classList.add("dragging");
      hide();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!drag) return hover(event);
      const moved = ((drag.x - event.clientX) / (rows.clientWidth - gutter())) * (drag.end - drag.start);
      show(drag.start + moved, drag.end + moved);
    });
    const drop = () => {
      drag = null;
      canvas.classList.remove("dragging");
    };
    canvas.addEventListener("pointerup", drop);
    canvas.addEventListener("pointercancel", drop);
    canvas.addEventListener("pointerleave", hide);
    canvas.addEventListener("dblclick", (event) => {
      const { x, group } = find(event);
      if (group && x >= gutter()) showGroup(group);
    });
    rows.addEventListener("wheel", (event) => {
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        zoom(Math.exp(event.deltaY * 0.002), timeAt(event.clientX - canvas.getBoundingClientRect().left));
      } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        const moved = ((event.deltaX || event.deltaY) / rows.clientWidth) * (view.end - view.start);
        show(view.start + moved, view.end + moved);
      }
    }, { passive: false });
    rows.addEventListener("scroll", draw);
    rows.addEventListener("keydown", (event) => {
      const span = view.end - view.start;
      const act = {
        "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), "0": () => show(0, data.total),
        ArrowLeft: () => show(view.start - span * 0.15, view.end - span * 0.15),
        ArrowRight: () => show(view.start + span * 0.15, view.end + span * 0.15),
      }[event.key];
      if (act && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        act();
      }
    });
    let from = null;
    const pick = (event) => {
      const share = (event.clientX - overview.getBoundingClientRect().left - gutter()) / (overview.clientWidth - gutter());
      return Math.min(Math.max(share, 0), 1) * data.total;
    };
    overview.addEventListener("pointerdown", (event) => {
      from = pick(event);
      overview.setPointerCapture(event.pointerId);
    });
    overview.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const to = pick(event);
      if (Math.abs(to - from) > data.total * 0.002) show(Math.min(from, to), Math.max(from, to));
    });
    overview.addEventListener("pointerup", (event) => {
      const to = pick(event), span = view.end - view.start;
      if (from !== null && Math.abs(to - from) <= data.total * 0.002) show(to - span / 2, to + span / 2);
      from = null;
    });
    document.getElementById("zoom-in").addEventListener("click", () => zoom(0.5));
    document.getElementById("zoom-out").addEventListener("click", () => zoom(2));
    document.getElementById("zoom-all").addEventListener("click", () => show(0, data.total));
    const open = document.getElementById("open-all");
    open.addEventListener("click", () => {
      const all = !groups.every((group) => group.open);
      groups.forEach((group) => (group.open = all));
      open.textContent = all ? "close all" : "open all";
      draw();
    });
    window.addEventListener("resize", draw);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      readPalette();
      draw();
    });
  }

  readPalette();
  listen();
  draw();
})();
