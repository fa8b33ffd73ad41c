/** Texts in the user's language. The extension hands the page its bundle, by the English that is written here. */

let texts: Record<string, unknown> | undefined;

/** The text with `{0}`, `{1}` … replaced; in English where there is no bundle, as on the command line. */
export function t(english: string, ...values: (string | number)[]): string {
  texts ??= bundleOfPage();
  const found = texts[english];
  const text = typeof found === 'string' ? found : english;
  return text.replace(/\{(\d+)\}/g, (hole, position: string) => String(values[Number(position)] ?? hole));
}

function bundleOfPage(): Record<string, unknown> {
  const written = typeof document === 'undefined' ? undefined : document.body?.dataset.texts;
  return JSON.parse(written ?? '{}') as Record<string, unknown>;
}
