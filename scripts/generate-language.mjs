// `langium generate`. Chevrotain's grammar checks call Object.groupBy, which Node 20 does not have yet;
// only the generator needs it: the generated parser (production mode) skips those checks.
Object.groupBy ??= (items, keyOf) => {
  const groups = Object.create(null);
  let index = 0;
  for (const item of items) (groups[keyOf(item, index++)] ??= []).push(item);
  return groups;
};

process.argv.splice(2, 0, 'generate', '--mode', 'production');
await import(new URL('../node_modules/langium-cli/bin/langium.js', import.meta.url).href);
