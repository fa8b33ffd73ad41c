const WAIT_MS = 30_000;
const POLL_MS = 150;

/** Waits until a condition holds; says what was waited for when it does not. */
export async function eventually(
  what: string,
  holds: () => Promise<boolean>,
  timeoutMs = WAIT_MS,
): Promise<void> {
  for (const deadline = Date.now() + timeoutMs; Date.now() < deadline;) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(`waited ${timeoutMs / 1000} s for this in vain: ${what}`);
}
