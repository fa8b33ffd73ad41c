/** Same as in package.json (a test holds them together); the core cannot read files. */
export const VERSION = '0.1.0';
