const PAGE = 'https://github.com/striped-dev/striped/blob/main/docs/diagnostics.md';

/** Where `docs/diagnostics.md` explains a code: its headings are the codes without `striped/`. */
export function explanationOf(code: unknown): string | undefined {
  const name = typeof code === 'string' ? /^striped\/(.+)$/.exec(code)?.[1] : undefined;
  return name && `${PAGE}#${name}`;
}
