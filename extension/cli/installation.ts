import { fileURLToPath } from 'node:url';

/** The folder that holds `dist/` (where the bundled command lies) and `build/native/`. */
export const INSTALLATION = fileURLToPath(new URL('..', import.meta.url));
