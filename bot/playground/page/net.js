/** The page's connection to the server: JSON requests and the event stream. */

/** Send a request; throws an Error with a sentence to show if the server refuses it or can't be reached. */
export async function ask(path, body) {
  let answer;
  try {
    const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const response = await fetch(`/page/${path}`, { cache: "no-store", ...options });
    answer = await response.json();
  } catch {
    throw new Error("Could not reach the playground. Is it still running?");
  }
  if (answer.ok === false) throw new Error(answer.error || "The playground refused this request.");
  return answer;
}

/**
 * Follow the events after `cursor`.
 * @returns {() => void} a function that stops following
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
