/** The page's one door to the server: JSON requests and the event stream. */

/** Ask the server; raises an Error with a sentence to show when it refuses or cannot be reached. */
export async function ask(path, body) {
  let answer;
  try {
    const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const response = await fetch(`/page/${path}`, { cache: "no-store", ...options });
    answer = await response.json();
  } catch {
    throw new Error("The playground does not answer. Is it still running?");
  }
  if (answer.ok === false) throw new Error(answer.error || "The playground refused this.");
  return answer;
}

/**
 * Follow the events after `cursor`.
 * @returns {() => void} stops following
 */
export function follow(user, cursor, onEvent, onLost) {
  const source = new EventSource(`/page/events?user=${encodeURIComponent(user)}&after=${cursor}`);
  source.addEventListener("message", ({ data }) => onEvent(JSON.parse(data)));
  source.addEventListener("error", () => {
    source.close();
    onLost();
  });
  return () => source.close();
}
