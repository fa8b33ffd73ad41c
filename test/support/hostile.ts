const ALPHABET = [
  ...'ab -\'"\\$`();&|<>*?[]{}~#!=%\n\t\r',
  'é',
  '🧬',
  '$(canary)',
  '`canary`',
  "'; canary; '",
  '"; canary; "',
  '\ncanary\n',
  '| canary',
  '--',
  '-e canary ',
  '--rsh=canary',
  '-oProxyCommand=canary',
  '\u202e',
];

/** Strings of what shells and programs take for special, reproducible by their seed. */
export function hostileWords(count: number, seed = 7): string[] {
  let state = seed;
  const next = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
  return Array.from({ length: count }, () =>
    Array.from({ length: next(12) }, () => ALPHABET[next(ALPHABET.length)]).join(''),
  );
}
