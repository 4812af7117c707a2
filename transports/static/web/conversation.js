// One conversation on the page: exchanges of a person's words and the agent's answers, in the order of asking.
//
// Everything may come twice and in any order: from history, from this page's own sending, from the room's
// events. Messages are known by id, answers in progress by their turn; events of an older lease are dropped.

import { renderMarkdown } from "./markdown.js";

const OPEN = new Set(["waiting", "running"]);

export class Conversation {
  constructor(log, { agentName, hue, onAskAgain, onRetry, onChange, onSpoken, onEnded }) {
    Object.assign(this, { log, agentName, hue, onAskAgain, onRetry, onChange, onSpoken, onEnded });
    this.exchanges = new Map(); // by the message's id, or `client:<id>` until it has one
    this.turns = new Map(); // turn id → { exchange, lease, text, live, isOver, isParked }
    this.seen = new Set(); // ids of the agent's messages
    log.replaceChildren();
  }

  get openTurns() {
    return [...this.turns].filter(([, turn]) => !turn.isOver && !turn.isParked).map(([id]) => id);
  }

  get isEmpty() {
    return this.exchanges.size === 0;
  }

  // What history says, the oldest first; `isEarlier` puts it before what stands here.
  addHistory(messages, { isEarlier = false } = {}) {
    const anchor = isEarlier ? this.log.firstChild : null;
    for (const message of messages) {
      if (message.direction === "in") {
        const exchange = this.ask({ ...message, at: message.said_at, before: anchor });
        if (message.turn) this.turnOf(message.turn, exchange);
      } else {
        this.reply({ ...message, turn: message.turn ?? "" }, { isQuiet: true, before: anchor });
      }
    }
    for (const message of messages) {
      if (message.direction === "in" && message.turn && !OPEN.has(message.turn_state)) this.done(message);
    }
    this.separateDays();
    this.onChange();
  }

  // A person's words, from here or another tab. Returns their exchange.
  ask({ id = "", client_id: clientId = "", text, at, before = null }) {
    const known = this.exchanges.get(id) ?? this.exchanges.get(`client:${clientId}`);
    if (known) {
      if (id) this.settle(known, id, at);
      return known;
    }
    const element = make("section", "exchange");
    const words = make("div", "asked", element);
    const bubble = make("div", "bubble", words);
    bubble.textContent = text;
    const note = make("div", "meta", words);
    const exchange = { element, text, words, note, id, clientId, answers: make("div", "answers", element) };
    this.exchanges.set(id || `client:${clientId}`, exchange);
    if (clientId) this.exchanges.set(`client:${clientId}`, exchange);
    if (id) this.settle(exchange, id, at);
    else note.textContent = "Sending…";
    this.log.insertBefore(element, before);
    this.separateDays();
    return exchange;
  }

  // The server has taken the words.
  settle(exchange, id, at) {
    exchange.id = id;
    exchange.words.classList.remove("failed");
    this.exchanges.set(id, exchange);
    exchange.at = new Date(at ?? Date.now());
    exchange.element.dataset.at = exchange.at.toISOString();
    exchange.note.replaceChildren(timeOf(exchange.at));
  }

  // The words were not taken.
  fail(exchange, reason) {
    exchange.words.classList.add("failed");
    exchange.note.replaceChildren(`Not sent. ${reason} `);
    const button = make("button", "text-button", exchange.note);
    button.type = "button";
    button.textContent = "Try again";
    button.addEventListener("click", () => {
      exchange.words.classList.remove("failed");
      exchange.note.textContent = "Sending…";
      this.onRetry(exchange);
    });
  }

  // Binds a turn to its exchange and shows that an answer is on its way.
  turnOf(turnId, exchange) {
    let turn = this.turns.get(turnId);
    if (!turn) {
      turn = { exchange, lease: 0, text: "", live: null, isOver: false, replies: 0 };
      this.turns.set(turnId, turn);
    }
    if (exchange && !turn.exchange) turn.exchange = exchange;
    if (turn.exchange && !turn.isOver && !turn.live && !turn.replies) {
      turn.live = this.answer(turn.exchange);
      turn.live.element.classList.add("waiting");
      turn.live.body.append(dots(this.agentName));
    }
    return turn;
  }

  on(name, data) {
    const exchange = this.exchanges.get(data.in_reply_to);
    if (name === "message") {
      const asked = this.ask({ ...data, at: data.said_at });
      if (data.turn) this.turnOf(data.turn, asked);
    } else if (name === "reply") this.reply(data, {});
    else if (name === "done") this.done(data);
    else if (data.turn) this.progress(name, data, this.turnOf(data.turn, exchange));
    this.onChange();
  }

  progress(name, data, turn) {
    if (turn.isOver || turn.replies || !turn.exchange || (data.lease_token ?? 0) < turn.lease) return;
    if (name === "reset" || data.lease_token > turn.lease) {
      turn.lease = data.lease_token;
      turn.text = "";
      turn.live?.cards.replaceChildren(); // another worker tells them anew
    }
    if (name === "error") {
      this.note(turn.exchange, data.detail ?? data.text ?? data.error ?? "Something went wrong.", "fault");
      return;
    }
    turn.isParked = false;
    if (name === "token") turn.text += data.text;
    else if (name === "action") this.action(turn.live, data);
    if (data.is_waiting) this.park(turn);
    else this.paint(turn);
  }

  paint(turn) {
    if (turn.frame) return;
    turn.frame = requestAnimationFrame(() => {
      turn.frame = 0;
      if (turn.isOver || turn.isParked || turn.replies || !turn.live) return;
      turn.live.element.classList.toggle("waiting", !turn.text);
      turn.live.element.classList.toggle("streaming", Boolean(turn.text));
      turn.live.body.replaceChildren(turn.text ? renderMarkdown(turn.text) : dots(this.agentName));
      this.onChange();
    });
  }

  // The agent's finished words; they take the place of what was streamed.
  reply(data, { isQuiet = false, before = null }) {
    if (this.seen.has(data.id)) return;
    this.seen.add(data.id);
    const turn = data.turn ? this.turns.get(data.turn) : null;
    const exchange =
      turn?.exchange ?? this.exchanges.get(data.in_reply_to) ?? this.unasked(data.said_at, before);
    const answer = turn?.live ?? this.answer(exchange);
    if (turn) Object.assign(turn, { live: null, replies: turn.replies + 1 });
    answer.element.classList.remove("waiting", "streaming");
    answer.body.replaceChildren(renderMarkdown(data.text));
    for (const action of data.actions ?? []) this.action(answer, action);
    this.tools(answer, data.text, exchange, new Date(data.said_at));
    if (!isQuiet) this.onSpoken(`${this.agentName}: ${data.text}`);
  }

  done(data) {
    const turn = this.turns.get(data.turn);
    if (!turn || turn.isOver) return;
    if (data.turn_state === "parked") return this.park(turn);
    // Without an answer, history says how the turn ended.
    if (!turn.replies && !data.turn_state) return this.onEnded();
    turn.isOver = true;
    if (!turn.live) return;
    turn.live.element.classList.remove("waiting", "streaming");
    const isStopped = data.turn_state === "stopped";
    const isDoubleTexted = ["collected", "superseded", "control"].includes(data.turn_outcome);
    if (turn.text) {
      turn.live.body.replaceChildren(renderMarkdown(turn.text));
      this.tools(turn.live, turn.text, turn.exchange, new Date());
    } else turn.live.element.remove();
    // What was said next is answered for it, or it was a "stop" itself: nothing is missing here.
    if (isDoubleTexted) this.onChange();
    else if (isStopped) this.note(turn.exchange, "You stopped this answer.");
    else if (!turn.text) {
      const isDead = data.turn_state === "dead";
      this.note(turn.exchange, `${this.agentName} ${isDead ? "could not" : "chose not to"} answer.`, isDead ? "fault" : "");
    }
    turn.live = null;
  }

  // The turn waits for a person in charge, who may take long: words take the place of the dots.
  park(turn) {
    turn.isParked = true;
    if (!turn.live) return;
    turn.live.element.classList.remove("waiting", "streaming");
    const words = make("p", "note");
    words.textContent = `${this.agentName} waits for an approval before going on.`;
    turn.live.body.replaceChildren(...(turn.text ? [renderMarkdown(turn.text)] : []), words);
    this.onChange();
  }

  // Something that the agent said of its own accord.
  unasked(at, before) {
    const element = make("section", "exchange");
    element.dataset.at = new Date(at).toISOString();
    this.log.insertBefore(element, before);
    return { element, text: "", answers: make("div", "answers", element) };
  }

  answer(exchange) {
    const element = make("article", "answer", exchange.answers);
    const avatar = make("span", "avatar small", element);
    avatar.textContent = this.agentName.slice(0, 1);
    avatar.setAttribute("aria-hidden", "true");
    avatar.style.setProperty("--hue", this.hue);
    const column = make("div", "column", element);
    const name = make("span", "unseen", column);
    name.textContent = `${this.agentName} says`;
    return { element, cards: make("div", "cards", column), body: make("div", "words", column), column };
  }

  action(answer, { name, success = true, text = "", is_waiting: isWaiting = false }) {
    if (!answer) return;
    const card = make("div", success || isWaiting ? "card" : "card failed", answer.cards);
    const head = make("strong", "", card);
    head.textContent = name.toLowerCase().replaceAll("_", " ");
    const state = make("span", "state", card);
    state.textContent = isWaiting ? "waits for an approval" : success ? "done" : "did not work";
    if (text) make("p", "", card).textContent = text;
  }

  tools(answer, text, exchange, at) {
    const bar = make("div", "meta", answer.column);
    bar.append(timeOf(at));
    const copy = tool(bar, "Copy", "M9 9h10v11H9zM5 15V4h10");
    copy.addEventListener("click", async () => {
      copy.lastChild.textContent = (await copyText(text)) ? "Copied" : "Can't copy here";
      setTimeout(() => (copy.lastChild.textContent = "Copy"), 1600);
    });
    if (exchange.text) {
      const again = tool(bar, "Ask again", "M4 12a8 8 0 1 1 2.5 5.8M4 19v-4.5h4.5");
      again.addEventListener("click", () => this.onAskAgain(exchange.text));
    }
  }

  note(exchange, text, kind = "") {
    make("p", `note ${kind}`, exchange.answers).textContent = text;
  }

  separateDays() {
    for (const old of this.log.querySelectorAll(".day")) old.remove();
    let last = new Date().toDateString();
    for (const element of this.log.querySelectorAll(".exchange[data-at]")) {
      const at = new Date(element.dataset.at);
      if (at.toDateString() === last) continue;
      last = at.toDateString();
      const day = make("p", "day");
      day.textContent = dayOf(at);
      element.before(day);
    }
  }
}

export function make(tag, className = "", parent = null) {
  const element = document.createElement(tag);
  if (className) element.className = className.trim();
  parent?.append(element);
  return element;
}

export function dayOf(at) {
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(at).setHours(0, 0, 0, 0)) / 86400000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return at.toLocaleDateString(undefined, { weekday: "long", day: "numeric", month: "long" });
}

function timeOf(at) {
  const time = make("time");
  time.dateTime = at.toISOString();
  time.title = at.toLocaleString();
  time.textContent = at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  return time;
}

function dots(name) {
  const waiting = make("span", "dots");
  waiting.setAttribute("role", "img");
  waiting.setAttribute("aria-label", `${name} is thinking`);
  for (let count = 0; count < 3; count += 1) make("i", "", waiting);
  return waiting;
}

export function icon(path) {
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  drawing.append(line);
  return drawing;
}

function tool(parent, label, path) {
  const button = make("button", "tool", parent);
  button.type = "button";
  button.append(icon(path));
  make("span", "", button).textContent = label;
  return button;
}

// The clipboard is closed to pages without TLS; there the old way is tried.
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = make("textarea", "unseen", document.body);
    field.value = text;
    field.select();
    const isDone = document.execCommand("copy");
    field.remove();
    return isDone;
  }
}
