"use strict";
(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const messages = facts.messages;
  const at = (id) => document.getElementById(id);
  let place = 0;
  let view = "Desktop";

  // Everything that comes from a list or a mail is put in as text, never as markup.
  function made(name, { text, ...properties } = {}, ...children) {
    const node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    for (const [key, value] of Object.entries(properties)) {
      if (value === undefined || value === null || value === false) continue;
      if (key in node && typeof value !== "string") node[key] = value;
      else node.setAttribute(key === "className" ? "class" : key, value);
    }
    node.append(...children.filter((child) => child !== null));
    return node;
  }

  function plural(count, noun, ending = "s") {
    return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : ending}`;
  }

  // ---- what of a mail is shown in a frame: nothing is loaded, nothing runs ----------

  const POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";
  const HEAD = "<!doctype html><meta charset=\"utf-8\">" +
    `<meta http-equiv="Content-Security-Policy" content="${POLICY}">` +
    "<base target=\"_blank\">";

  function framed(message, width, height) {
    const html = message.html.replace(/cid:([A-Za-z0-9._@+-]+)/g, (whole, id) =>
      Object.hasOwn(message.pictures, id) ? facts.files[message.pictures[id]] : whole);
    const frame = made("iframe", {
      sandbox: "", srcdoc: HEAD + html, referrerpolicy: "no-referrer",
      title: `The message at ${width} pixels`, loading: "eager",
    });
    frame.dataset.width = width;
    frame.dataset.height = height;
    return frame;
  }

  function fit() {
    for (const frame of document.querySelectorAll("iframe")) {
      const room = frame.parentElement.clientWidth;
      const wanted = Number(frame.dataset.width);
      const width = frame.parentElement.classList.contains("phone") ? wanted
        : Math.max(wanted, room);
      const scale = Math.min(1, room / width);
      // As much as there is room for below, so that only the mail scrolls.
      const top = frame.parentElement.getBoundingClientRect().top + window.scrollY;
      const below = getComputedStyle(at("turn")).position === "sticky"
        ? at("turn").offsetHeight : 0;
      const height = Math.max(Number(frame.dataset.height),
        window.innerHeight - top - below - 48);
      frame.style.width = `${width}px`;
      frame.style.height = `${height / scale}px`;
      frame.style.transform = scale < 1 ? `scale(${scale})` : "none";
      frame.parentElement.style.height = `${height}px`;
    }
  }

  // ---- the views -------------------------------------------------------------------

  function blocked(message) {
    if (!message.remote) return null;
    return made("p", { className: "note",
      text: `${plural(message.remote, "picture")} from the network not loaded.` });
  }

  function screen(kind, width, height) {
    return (message) => {
      if (message.html === null) {
        return [made("p", { className: "note", text: "There is no HTML part." })];
      }
      return [blocked(message),
        made("div", { className: `screen ${kind}` }, framed(message, width, height))];
    };
  }

  function text(message) {
    return message.text === null
      ? [made("p", { className: "note", text: "There is no text part." })]
      : [made("pre", { text: message.text })];
  }

  function table(rows, cells) {
    return made("table", {}, made("tbody", {}, ...rows.map(cells)));
  }

  function pair([name, value]) {
    return made("tr", {}, made("th", { text: name, scope: "row" }),
      made("td", { text: value, dir: "auto" }));
  }

  function headers(message) {
    const parts = [table(message.headers, pair)];
    if (message.beside.length) {
      parts.push(made("h3", { text: "Beside the headers" }), table(message.beside, pair));
    }
    if (message.files.length) {
      parts.push(made("h3", { text: "Files" }),
        table(message.files.map((file) => [file.name, file.told]), pair));
    }
    return parts;
  }

  function source(message) {
    return [
      made("p", { className: "note", text: "The message as a mail (RFC 5322). A provider " +
        "that takes its parts writes the final one itself." }),
      made("pre", { className: "source", text: message.source }),
    ];
  }

  function data(message) {
    return [table(message.data, ([name, kind, value]) =>
      made("tr", {}, made("th", { text: name, scope: "row" }),
        value === null || value === ""
          ? made("td", { className: "nothing", text: value === null ? "null" : "empty" })
          : made("td", { text: value, dir: "auto" }),
        made("td", { className: "kind", text: kind })))];
  }

  function card(note) {
    return made("li", { className: note.severity },
      note.id ? made("code", { text: note.id }) : null,
      made("b", { text: note.text }), made("span", { text: note.fix }));
  }

  function ofRow(message) {
    return [...message.notes,
      ...facts.findings.filter((note) => note.rows.includes(message.row))];
  }

  function findings(message) {
    const own = ofRow(message);
    const others = facts.findings.filter((note) => !note.rows.includes(message.row));
    const parts = [made("h3", { text: "This message" })];
    parts.push(own.length ? made("ul", { className: "cards" }, ...own.map(card))
      : made("p", { className: "good", text: "Nothing found." }));
    if (others.length) {
      parts.push(made("h3", { text: "The campaign and its list" }),
        made("ul", { className: "cards" }, ...others.map(card)));
    }
    return parts;
  }

  function coverage() {
    const taken = facts.branches.filter((branch) => branch.rows).length;
    const looked = facts.whole ? "all rows" : plural(facts.looked, "row");
    const parts = [made("p", { className: "note", text: facts.branches.length
      ? `${taken} of ${facts.branches.length} branches of the templates are taken, ` +
        `looking through ${looked}.`
      : "The templates have no branches: every message has the same parts." })];
    const names = [...new Set(facts.branches.map((branch) => branch.template))];
    for (const name of names) {
      const rows = facts.branches.filter((branch) => branch.template === name);
      parts.push(made("h3", { text: name }), table(rows, (branch) =>
        made("tr", { className: branch.rows ? undefined : "never" },
          made("td", { className: "line", text: branch.line || "" }),
          made("td", {}, made("code", { text: branch.told })),
          made("td", { className: "number" }, branch.rows === 0 ? "no row takes it"
            : branch.place === null ? plural(branch.rows, "row")
              : made("button", { type: "button", text: plural(branch.rows, "row"),
                onclick: () => turn(branch.place, "Desktop") })))));
    }
    return parts;
  }

  const VIEWS = {
    Desktop: screen("desktop", 720, 460),
    Phone: screen("phone", 375, 600),
    Text: text, Headers: headers, Source: source, Data: data,
    Findings: findings, Coverage: coverage,
  };
  const ALWAYS = new Set(["Data", "Findings", "Coverage"]);

  // ---- turning ---------------------------------------------------------------------

  function worst(notes) {
    return notes.some((note) => note.severity === "error") ? "error"
      : notes.some((note) => note.severity === "warning") ? "warning" : "";
  }

  function said(label) {
    return label.way ? `${label.text}: ${label.way}` : label.text;
  }

  function title(message) {
    return message.labels[0] ? said(message.labels[0]) : `Row ${message.row}`;
  }

  function head(message) {
    const branches = message.labels.filter((label) => label.kind === "branch");
    const others = message.labels.filter((label) => label.kind !== "branch");
    const shown = [...others, ...branches.slice(0, others.length ? 0 : 2)].slice(0, 5);
    const more = branches.length - (others.length ? 0 : Math.min(2, branches.length));
    at("labels").replaceChildren(
      ...shown.map((label) => made("span", { className: label.kind, text: said(label),
        title: said(label) })),
      ...(more > 0 ? [made("span", { className: "more",
        text: shown.length && !others.length ? `and ${plural(more, "branch", "es")} more`
          : `shows ${plural(more, "branch", "es")}` })] : []));
    at("subject").textContent = message.failure ? "This message cannot be made"
      : message.subject || "no subject";
    at("subject").className = message.failure || !message.subject ? "none" : "";
    const to = message.name ? `${message.name} <${message.address}>` : message.address;
    at("people").replaceChildren(...[["From", message.from], ["To", to],
      ["Row", message.key && message.key !== message.address
        ? `${message.row}, key ${message.key}` : String(message.row)]]
      .flatMap(([name, value]) => [made("dt", { text: name }),
        made("dd", { text: value, dir: "auto" })]));
    const reason = message.failure || (message.leftOut ? `Left out, ${message.leftOut}` : "");
    at("banner").hidden = !reason;
    at("banner").textContent = reason;
    at("banner").className = message.failure ? "banner bad" : "banner";
  }

  function tabs(message) {
    const own = ofRow(message);
    at("tabs").replaceChildren(...Object.keys(VIEWS).map((name, number) => {
      const tab = made("button", { type: "button", role: "tab", id: `tab-${name}`,
        "aria-controls": "panel", "aria-keyshortcuts": String(number + 1), text: name,
        onclick: () => turn(place, name) });
      tab.setAttribute("aria-selected", String(name === view));
      tab.tabIndex = name === view ? 0 : -1;
      if (name === "Findings" && own.length) {
        tab.append(made("span", { className: `count ${worst(own)}`, text: own.length }));
      }
      if (name === "Coverage" && facts.branches.length) {
        const never = facts.branches.filter((branch) => !branch.rows).length;
        if (never) tab.append(made("span", { className: "count warning", text: never,
          title: `${never} never taken` }));
      }
      return tab;
    }));
    at("panel").setAttribute("aria-labelledby", `tab-${view}`);
    const tab = at(`tab-${view}`);
    const strip = at("tabs");
    strip.scrollLeft = tab.offsetLeft - (strip.clientWidth - tab.offsetWidth) / 2;
  }

  function turn(to, shown = view) {
    place = Math.max(0, Math.min(messages.length - 1, to));
    view = shown;
    const message = messages[place];
    const held = document.activeElement && document.activeElement.role === "tab";
    head(message);
    tabs(message);
    if (held) at(`tab-${view}`).focus();
    at("panel").replaceChildren(...(message.failure && !ALWAYS.has(view)
      ? [made("p", { className: "note",
        text: "There is nothing to show: see Findings and Data." })]
      : VIEWS[view](message)).filter((part) => part !== null));
    at("previous").disabled = place === 0;
    at("next").disabled = place === messages.length - 1;
    at("jump").value = String(place);
    at("count").textContent = `${place + 1} of ${messages.length}`;
    for (const [number, button] of [...at("list").querySelectorAll("button")].entries()) {
      if (number === place) {
        button.setAttribute("aria-current", "true");
        button.scrollIntoView({ block: "nearest" });
      } else button.removeAttribute("aria-current");
    }
    fit();
  }

  function entry(message, number) {
    const label = message.labels[0];
    const found = worst(ofRow(message));
    const dot = found === "error" ? "●" : found === "warning" ? "○" : "";
    return made("li", {}, made("button", { type: "button", onclick: () => turn(number) },
      made("b", { className: label.kind, text: label.text, title: title(message) }),
      label.way ? made("em", { text: label.way }) : null,
      dot ? made("span", { className: `dot ${found}`, text: dot, role: "img",
        "aria-label": `has ${found}s`, title: `has ${found}s` }) : null,
      made("i", { text: `${message.row} · ${message.address}`, dir: "auto" })));
  }

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.tagName === "SELECT") {
      return;
    }
    const names = Object.keys(VIEWS);
    const step = { ArrowLeft: -1, ArrowRight: 1, k: -1, j: 1 }[event.key];
    if (step && event.key.startsWith("Arrow") && event.target.role === "tab") {
      const next = names[(names.indexOf(view) + step + names.length) % names.length];
      turn(place, next);
    } else if (step) turn(place + step);
    else if (names[Number(event.key) - 1]) turn(place, names[Number(event.key) - 1]);
    else return;
    event.preventDefault();
  });

  if (!messages.length) {
    at("subject").textContent = "Nobody on this list is to be mailed";
    at("panel").replaceChildren(...coverage());
    return;
  }
  at("list").replaceChildren(...messages.map(entry));
  at("jump").replaceChildren(...messages.map((message, number) => made("option", {
    value: String(number), text: `${number + 1} of ${messages.length} · ${title(message)}`,
  })));
  at("jump").addEventListener("change", () => turn(Number(at("jump").value)));
  at("previous").addEventListener("click", () => turn(place - 1));
  at("next").addEventListener("click", () => turn(place + 1));
  window.addEventListener("resize", fit);
  turn(0);
})();
