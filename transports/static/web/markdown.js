// Renders a small, safe part of Markdown as DOM nodes: paragraphs, headings as bold lines, lists, quotes, code,
// bold, italics and http(s) links. Text is only ever set as text, so nothing that a model writes becomes markup.

const FENCE = /^\s*```\s*([\w+-]*)\s*$/;
const BULLET = /^\s*[-*+]\s+(.*)$/;
const NUMBER = /^\s*(\d{1,9})[.)]\s+(.*)$/;
const QUOTE = /^\s*>\s?(.*)$/;
const HEADING = /^\s*#{1,6}\s+(.*)$/;
const INLINE = new RegExp(
  [
    "`([^`\\n]+)`",
    "\\*\\*(?=\\S)([^\\n]+?)(?<=\\S)\\*\\*",
    "(?<![\\w*])\\*(?=[^\\s*])([^*\\n]+?)(?<=\\S)\\*(?![\\w*])",
    "(?<!\\w)_(?=[^\\s_])([^_\\n]+?)(?<=\\S)_(?!\\w)",
    "\\[([^\\]\\n]+)\\]\\(([^\\s)]+)\\)",
    "(https?:\\/\\/[^\\s<>\"']+[^\\s<>\"'.,;:!?)\\]])",
  ].join("|"),
  "g",
);

export function renderMarkdown(text) {
  const fragment = document.createDocumentFragment();
  const lines = text.split("\n");
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) at += 1;
    else at = block(lines, at, fragment);
  }
  return fragment;
}

function block(lines, at, parent) {
  const fence = FENCE.exec(lines[at]);
  if (fence) return code(lines, at + 1, fence[1], parent);
  if (BULLET.test(lines[at])) return list(lines, at, BULLET, "ul", parent);
  if (NUMBER.test(lines[at])) return list(lines, at, NUMBER, "ol", parent);
  if (QUOTE.test(lines[at])) return quote(lines, at, parent);
  const heading = HEADING.exec(lines[at]);
  if (heading) {
    const line = element("p", parent, "heading");
    inline(heading[1], line);
    return at + 1;
  }
  return paragraph(lines, at, parent);
}

function code(lines, at, language, parent) {
  const end = lines.findIndex((line, index) => index >= at && FENCE.test(line));
  const until = end === -1 ? lines.length : end;
  const pre = element("pre", parent);
  pre.tabIndex = 0;
  const inner = element("code", pre);
  if (language) inner.dataset.language = language;
  inner.textContent = lines.slice(at, until).join("\n");
  return until + 1;
}

function list(lines, at, pattern, tag, parent) {
  const items = element(tag, parent);
  const first = tag === "ol" ? Number(pattern.exec(lines[at])[1]) : 1;
  if (first !== 1) items.start = first;
  for (; at < lines.length; at += 1) {
    const found = pattern.exec(lines[at]);
    if (found) inline(found[found.length - 1], element("li", items));
    else if (/^\s{2,}\S/.test(lines[at])) {
      items.lastChild.append(document.createElement("br"));
      inline(lines[at].trim(), items.lastChild);
    } else break;
  }
  return at;
}

function quote(lines, at, parent) {
  const inner = [];
  for (; at < lines.length && QUOTE.test(lines[at]); at += 1) inner.push(QUOTE.exec(lines[at])[1]);
  element("blockquote", parent).append(renderMarkdown(inner.join("\n")));
  return at;
}

function paragraph(lines, at, parent) {
  const paragraph_ = element("p", parent);
  for (let first = true; at < lines.length && lines[at].trim() && (first || !startsBlock(lines[at])); at += 1) {
    if (!first) paragraph_.append(document.createElement("br"));
    inline(lines[at], paragraph_);
    first = false;
  }
  return at;
}

function startsBlock(line) {
  return FENCE.test(line) || BULLET.test(line) || NUMBER.test(line) || QUOTE.test(line) || HEADING.test(line);
}

function inline(text, parent) {
  let last = 0;
  for (const found of text.matchAll(INLINE)) {
    parent.append(text.slice(last, found.index));
    last = found.index + found[0].length;
    const [whole, code_, bold, italic, underlined, label, target, address] = found;
    if (code_ !== undefined) element("code", parent).textContent = code_;
    else if (bold !== undefined) inline(bold, element("strong", parent));
    else if (italic !== undefined || underlined !== undefined) inline(italic ?? underlined, element("em", parent));
    else if (!link(label ?? address, target ?? address, parent)) parent.append(whole);
  }
  parent.append(text.slice(last));
}

function link(label, target, parent) {
  let url;
  try {
    url = new URL(target);
  } catch {
    return false;
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") return false;
  const anchor = element("a", parent);
  anchor.href = url.href;
  anchor.rel = "noopener noreferrer nofollow";
  anchor.target = "_blank";
  anchor.textContent = label;
  return true;
}

function element(tag, parent, className = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  parent.append(made);
  return made;
}
