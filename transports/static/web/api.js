// Speaks with the site's API. Each failure is an `ApiError` whose message can be shown to a person.

const ROOT = "/api/v1";

export class ApiError extends Error {
  constructor(message, { status = 0, retryAfterSeconds = 0 } = {}) {
    super(message);
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["X-CSRFToken"] = cookie("csrftoken");
  let response;
  try {
    response = await fetch(ROOT + path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch {
    throw new ApiError(
      navigator.onLine ? "The server can't be reached just now." : "You are offline just now.",
    );
  }
  const answer = response.status === 204 ? null : await response.json().catch(() => null);
  if (response.ok) return answer;
  const words = answer && typeof answer.detail === "string" ? answer.detail : `The server answered ${response.status}.`;
  throw new ApiError(response.status === 401 ? "Your visit has ended: reload the page." : words, {
    status: response.status,
    retryAfterSeconds: Number(response.headers.get("Retry-After")) || 0,
  });
}

function cookie(name) {
  const found = document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}

export const listAgents = () => call("GET", "/agents");
export const listModels = () => call("GET", "/models");
export const listRooms = () => call("GET", "/rooms");
export const openRoom = (agent) => call("POST", "/rooms", { agent });
export const getRoom = (room) => call("GET", `/rooms/${room}`);
export const deleteRoom = (room) => call("DELETE", `/rooms/${room}`);
export const readRoom = (room, before = "") =>
  call("GET", `/rooms/${room}/messages?limit=50${before && `&before=${before}`}`);
export const say = (agent, room, text, id) => call("POST", `/agents/${agent}/messages`, { text, room, id });
export const stopTurn = (turn) => call("POST", `/turns/${turn}/stop`);

// Follows a room's events for as long as it is open, over lost connections and ended streams.
export function followRoom(address, { onEvent, onLost, onBack }) {
  const NAMES = ["message", "token", "action", "reset", "reply", "error", "done"];
  let source;
  let timer = 0;
  let wait = 1000;
  let wasLost = false;
  let lastId = "";

  function open() {
    const url = new URL(address, window.location.href);
    if (lastId) url.searchParams.set("last_event_id", lastId);
    source = new EventSource(url);
    source.onopen = () => {
      wait = 1000;
      if (wasLost) onBack();
      wasLost = false;
    };
    for (const name of NAMES) {
      source.addEventListener(name, (event) => {
        // A broken connection is an `error` too, one without data.
        if (event.data === undefined) return lost();
        if (event.lastEventId) lastId = event.lastEventId;
        onEvent(name, JSON.parse(event.data));
      });
    }
  }

  function lost() {
    wasLost = true;
    onLost();
    if (source.readyState !== EventSource.CLOSED || timer) return;
    timer = setTimeout(() => {
      timer = 0;
      open();
    }, wait);
    wait = Math.min(wait * 2, 15000);
  }

  open();
  return () => {
    clearTimeout(timer);
    source.close();
  };
}
