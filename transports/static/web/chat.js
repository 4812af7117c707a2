// The chat page: chooses an agent and a conversation, sends, follows the room's events, and says what is wrong.

import * as api from "./api.js";
import { Conversation, dayOf, icon, make } from "./conversation.js";

const CATCH_UP_MILLISECONDS = 20000;
const LOST_AFTER_MILLISECONDS = 2500;
const at = (id) => document.getElementById(id);
const state = { agents: [], agent: null, room: null, rooms: [], conversation: null, leave: null, before: null };
const tabs = "BroadcastChannel" in window ? new BroadcastChannel("eliza") : null;

start();

async function start() {
  wire();
  refreshModel();
  try {
    [state.agents, state.rooms] = await Promise.all([api.listAgents(), api.listRooms()]);
  } catch (error) {
    showBanner(error.message, { label: "Try again", act: () => window.location.reload() });
    return;
  }
  showRooms();
  await openAddress();
}

function wire() {
  at("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send(at("text").value);
  });
  at("text").addEventListener("input", fitText);
  at("text").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send(at("text").value);
  });
  at("stop").addEventListener("click", stop);
  at("new").addEventListener("click", () => goTo(null));
  at("earlier").addEventListener("click", showEarlier);
  at("theme").addEventListener("click", changeTheme);
  at("open-sidebar").addEventListener("click", () => openSidebar(true));
  at("close-sidebar").addEventListener("click", () => openSidebar(false));
  at("backdrop").addEventListener("click", () => openSidebar(false));
  at("to-latest").addEventListener("click", () => toLatest({ isSmooth: true }));
  at("scroll").addEventListener("scroll", () => (at("to-latest").hidden = isAtEnd()), { passive: true });
  document.querySelector(".brand").addEventListener("click", (event) => {
    event.preventDefault();
    goTo(null);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && document.body.classList.contains("sidebar-open")) openSidebar(false);
  });
  window.addEventListener("popstate", openAddress);
  window.addEventListener("offline", () => showBanner("You are offline. What you write waits here."));
  window.addEventListener("online", hideBanner);
  document.addEventListener("visibilitychange", () => document.hidden || refreshRooms());
  tabs?.addEventListener("message", refreshRooms);
  setInterval(() => state.conversation?.openTurns.length && catchUp(), CATCH_UP_MILLISECONDS);
  nameTheme();
}

// Addresses and conversations ------------------------------------------------------------------------------

function goTo(roomId) {
  const path = roomId ? `/c/${roomId}` : "/";
  if (window.location.pathname !== path) window.history.pushState(null, "", path);
  openSidebar(false);
  return openAddress();
}

async function openAddress() {
  const [, roomId] = /^\/c\/([0-9a-f-]{36})$/.exec(window.location.pathname) ?? [];
  leaveRoom();
  if (!roomId) return showWelcome();
  try {
    const room = state.rooms.find((known) => known.id === roomId) ?? (await api.getRoom(roomId));
    const page = await api.readRoom(roomId);
    if (!window.location.pathname.endsWith(roomId)) return;
    enter(room, page);
  } catch (error) {
    if (error.status === 404) window.history.replaceState(null, "", "/");
    showWelcome();
    showBanner(error.status === 404 ? "This conversation isn't there (any more)." : error.message);
  }
}

function showWelcome() {
  document.title = "Eliza";
  at("welcome").hidden = false;
  at("talk").hidden = true;
  at("with").hidden = true;
  at("to-latest").hidden = true;
  const remembered = recall("agent");
  showAgents(state.agents.find((agent) => agent.slug === remembered) ?? state.agents[0] ?? null);
  markRooms();
  if (matchMedia("(hover: hover)").matches) at("text").focus();
}

function enter(room, page) {
  state.room = room;
  state.agent = room.agent;
  at("welcome").hidden = true;
  at("talk").hidden = false;
  at("with").hidden = false;
  at("with-name").textContent = room.agent.name;
  dress(at("with-avatar"), room.agent);
  document.title = `${room.name} – ${room.agent.name}`;
  state.conversation = new Conversation(at("log"), {
    agentName: room.agent.name,
    hue: hueOf(room.agent.slug),
    onAskAgain: send,
    onRetry: deliver,
    onChange: followText,
    onSpoken: (text) => (at("spoken").textContent = text),
    onEnded: () => [150, 1500].forEach((wait) => setTimeout(catchUp, wait)),
  });
  state.conversation.addHistory(page.messages);
  setBefore(page.before);
  state.leave = api.followRoom(page.events, { onEvent, onLost, onBack });
  nameComposer();
  markRooms();
  if (room.agent.status === "paused") {
    showBanner(`${room.agent.name} is paused: what you write waits until ${room.agent.name} is back.`);
  } else if (room.agent.status === "stopped") showBanner(`${room.agent.name} is stopped and takes no messages.`);
  toLatest();
}

function leaveRoom() {
  state.leave?.();
  Object.assign(state, { leave: null, room: null, conversation: null });
  clearTimeout(state.lostTimer);
  at("log").replaceChildren();
  setBefore(null);
  hideBanner();
  showStop();
}

async function showEarlier() {
  const room = state.room;
  try {
    const page = await api.readRoom(room.id, state.before);
    if (state.room !== room) return;
    const fromEnd = at("scroll").scrollHeight - at("scroll").scrollTop;
    state.conversation.addHistory(page.messages, { isEarlier: true });
    at("scroll").scrollTop = at("scroll").scrollHeight - fromEnd;
    setBefore(page.before);
  } catch (error) {
    showBanner(error.message);
  }
}

function setBefore(before) {
  state.before = before;
  at("earlier").hidden = !before;
}

// Sending and following ------------------------------------------------------------------------------------

async function send(text) {
  if (!text.trim()) return;
  if (!state.agent) return showBanner("There is nobody to talk with: no agent is running.");
  if (text === at("text").value) {
    at("text").value = "";
    fitText();
  }
  at("send").disabled = true;
  try {
    if (!state.room && !(await openRoom(text))) return;
  } finally {
    fitText();
  }
  const exchange = state.conversation.ask({ client_id: newId(), text });
  toLatest({ isSmooth: true });
  await deliver(exchange);
}

async function openRoom(text) {
  try {
    const room = await api.openRoom(state.agent.slug);
    const page = await api.readRoom(room.id);
    window.history.pushState(null, "", `/c/${room.id}`);
    enter({ ...room, name: text.slice(0, 80) }, page);
    return true;
  } catch (error) {
    at("text").value = text;
    showBanner(error.message);
    return false;
  }
}

async function deliver(exchange) {
  const { conversation, room, agent } = state;
  try {
    const taken = await api.say(agent.slug, room.id, exchange.text, exchange.clientId);
    conversation.settle(exchange, taken.message);
    if (taken.turn) conversation.turnOf(taken.turn, exchange);
    if (taken.notice) showBanner(taken.notice);
    tabs?.postMessage("rooms");
    refreshRooms();
  } catch (error) {
    conversation.fail(exchange, error.message);
    at("spoken").textContent = `Not sent. ${error.message}`;
  }
  followText();
}

async function stop() {
  at("stop").disabled = true;
  const { conversation } = state;
  for (const id of conversation.openTurns) {
    try {
      await api.stopTurn(id);
    } catch (error) {
      showBanner(error.message);
    }
  }
  setTimeout(catchUp, 1500);
  at("text").focus();
}

function onEvent(name, data) {
  if (name === "error" && data.is_gone) {
    window.history.replaceState(null, "", "/");
    openAddress();
    refreshRooms();
    return showBanner(data.detail);
  }
  state.conversation.on(name, data);
}

function onLost() {
  if (state.lostTimer) return;
  state.lostTimer = setTimeout(() => {
    const words = navigator.onLine ? "The connection was lost. Reconnecting…" : "You are offline. What you write waits here.";
    showBanner(words);
  }, LOST_AFTER_MILLISECONDS);
}

function onBack() {
  clearTimeout(state.lostTimer);
  state.lostTimer = 0;
  hideBanner();
  catchUp();
}

// Reads the conversation again: whatever the events did not bring stands there.
async function catchUp() {
  const { room, conversation } = state;
  if (!room) return;
  try {
    const page = await api.readRoom(room.id);
    if (state.room === room) conversation.addHistory(page.messages);
  } catch {
    // The banner says already what is wrong; the next round tries again.
  }
}

// What is shown around the conversation --------------------------------------------------------------------

function showAgents(chosen) {
  at("agents").replaceChildren();
  for (const agent of state.agents) {
    const card = make("label", "agent", at("agents"));
    const radio = make("input", "", card);
    Object.assign(radio, { type: "radio", name: "agent", value: agent.slug, checked: agent === chosen });
    radio.addEventListener("change", () => choose(agent));
    dress(make("span", "avatar", card), agent);
    const words = make("span", "about", card);
    make("strong", "", words).textContent = agent.name;
    make("span", "", words).textContent = agent.bio;
  }
  if (!chosen) make("p", "quiet", at("agents")).textContent = "No agent is running just now.";
  if (chosen) choose(chosen);
}

function choose(agent) {
  state.agent = agent;
  remember("agent", agent.slug);
  nameComposer();
  at("examples").replaceChildren();
  for (const text of agent.examples) {
    const button = make("button", "example", at("examples"));
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => send(text));
  }
}

async function refreshRooms() {
  try {
    state.rooms = await api.listRooms();
    showRooms();
  } catch {
    // The list stays as it was; it is asked for again at the next occasion.
  }
}

function showRooms() {
  const list = at("rooms");
  const focused = document.activeElement?.closest?.("li")?.dataset.room;
  list.replaceChildren();
  at("no-rooms").hidden = state.rooms.length > 0;
  for (const room of state.rooms) {
    const item = make("li", "", list);
    item.dataset.room = room.id;
    const link = make("a", "", item);
    link.href = `/c/${room.id}`;
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey) return;
      event.preventDefault();
      goTo(room.id);
    });
    make("span", "room-name", link).textContent = room.name;
    make("span", "room-about", link).textContent = `${room.agent.name} · ${when(new Date(room.last_message_at))}`;
    const remove = make("button", "icon-button", item);
    remove.type = "button";
    remove.setAttribute("aria-label", `Delete the conversation “${room.name}”`);
    remove.append(icon("M5 7h14M10 7V4.5h4V7M7 7l1 13h8l1-13M10.5 11v5.5M13.5 11v5.5"));
    remove.addEventListener("click", () => confirmDelete(room));
    if (room.id === focused) link.focus();
  }
  markRooms();
}

function markRooms() {
  for (const link of at("rooms").querySelectorAll("a")) {
    if (link.parentElement.dataset.room === state.room?.id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function confirmDelete(room) {
  const dialog = at("confirm");
  at("confirm-name").textContent = `“${room.name}”, with ${room.agent.name}.`;
  dialog.returnValue = "keep";
  dialog.onclose = async () => {
    if (dialog.returnValue !== "delete") return;
    try {
      await api.deleteRoom(room.id);
    } catch (error) {
      if (error.status !== 404) return showBanner(error.message);
    }
    state.rooms = state.rooms.filter((known) => known.id !== room.id);
    showRooms();
    tabs?.postMessage("rooms");
    if (state.room?.id === room.id) goTo(null);
  };
  dialog.showModal();
}

async function refreshModel() {
  try {
    const models = await api.listModels();
    at("model-name").textContent = models.is_demonstration ? `Demonstration model: ${models.large}` : models.large;
    at("model-sentence").textContent = models.sentence;
    at("model").classList.toggle("is-demonstration", models.is_demonstration);
    at("model").hidden = false;
  } catch {
    at("model").hidden = true;
  }
}

function showStop() {
  const isOpen = Boolean(state.conversation?.openTurns.length);
  if (at("stop").hidden !== !isOpen) at("stop").disabled = false;
  at("stop").hidden = !isOpen;
}

function nameComposer() {
  const name = state.agent?.name;
  at("text").placeholder = name ? `Write to ${name}` : "Write a message";
}

function fitText() {
  const text = at("text");
  text.style.height = "auto";
  text.style.height = `${Math.min(text.scrollHeight, window.innerHeight * 0.4)}px`;
  at("send").disabled = !text.value.trim();
}

function isAtEnd() {
  const scroll = at("scroll");
  return scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 90;
}

// Follows the text only for a reader who is at its end.
let wasAtEnd = true;
at("scroll").addEventListener("scroll", () => (wasAtEnd = isAtEnd()), { passive: true });

function followText() {
  showStop();
  if (wasAtEnd) at("scroll").scrollTop = at("scroll").scrollHeight;
  at("to-latest").hidden = wasAtEnd || !state.room;
}

function toLatest({ isSmooth = false } = {}) {
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  wasAtEnd = true;
  at("scroll").scrollTo({ top: at("scroll").scrollHeight, behavior: isSmooth && !isCalm ? "smooth" : "instant" });
}

function openSidebar(isOpen) {
  const was = document.body.classList.contains("sidebar-open");
  document.body.classList.toggle("sidebar-open", isOpen);
  at("backdrop").hidden = !isOpen;
  at("page").inert = isOpen;
  at("open-sidebar").setAttribute("aria-expanded", String(isOpen));
  if (isOpen) at("close-sidebar").focus();
  else if (was) at("open-sidebar").focus();
}

function showBanner(text, action = null) {
  at("banner-text").textContent = text;
  at("banner-action").hidden = !action;
  if (action) {
    at("banner-action").textContent = action.label;
    at("banner-action").onclick = action.act;
  }
  at("banner").hidden = false;
}

function hideBanner() {
  at("banner").hidden = true;
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function changeTheme() {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  remember("theme", document.documentElement.dataset.theme);
  nameTheme();
}

function nameTheme() {
  at("theme").setAttribute("aria-label", isDark() ? "Change to light" : "Change to dark");
}

function dress(avatar, agent) {
  avatar.textContent = agent.name.slice(0, 1);
  avatar.setAttribute("aria-hidden", "true");
  avatar.style.setProperty("--hue", hueOf(agent.slug));
}

function hueOf(slug) {
  return [...slug].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 140);
}

function when(moment) {
  const day = dayOf(moment);
  return day === "Today" ? moment.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" }) : day;
}

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function remember(name, value) {
  try {
    localStorage.setItem(`eliza.${name}`, value);
  } catch {
    // A browser that keeps nothing forgets the choice.
  }
}

function recall(name) {
  try {
    return localStorage.getItem(`eliza.${name}`);
  } catch {
    return null;
  }
}
