import { pause } from './child.js';
import type { Shell } from './shell.js';
import { isBroken } from './ssh-shell.js';

/** How often something is tried whose connection breaks, and the pause before the second try; each next one doubles. */
export const TRIES = 5;
export const FIRST_WAIT_MS = 500;

/** A shell that tries a script again whose connection broke. Only for scripts that may run twice. */
export function patient(shell: Shell): Shell {
  return {
    where: shell.where,
    route: shell.route,
    async run(script, options) {
      for (let attempt = 0; ; attempt++) {
        try {
          return await shell.run(script, options);
        } catch (error) {
          if (!isBroken(error) || attempt + 1 >= TRIES) throw error;
          await pause(FIRST_WAIT_MS * 2 ** attempt, options?.signal);
        }
      }
    },
  };
}
