/** Theme variables as values: canvases cannot read CSS variables, and must hear of changes. */

export interface ChartTheme {
  foreground: string;
  muted: string;
  grid: string;
  background: string;
  /** First and second series; chosen apart in lightness, so that colour alone does not tell them. */
  series: [string, string];
  /** Further runs in the same chart, which are dashed as well. */
  more: string[];
  /** The area around a level. */
  band: string;
  /** From the first (0) to the last (1) of many lines of one kind. */
  ramp(share: number): string;
}

/** The current editor theme. `style` is that of the body unless told. */
export function chartTheme(style: CSSStyleDeclaration = getComputedStyle(document.body)): ChartTheme {
  const value = (names: string[], fallback: string) =>
    names.map((name) => style.getPropertyValue(name).trim()).find((found) => found !== '') ?? fallback;
  const foreground = value(['--vscode-editor-foreground', '--vscode-foreground'], '#cccccc');
  return {
    foreground,
    muted: value(['--vscode-descriptionForeground'], foreground),
    // Not the border of high-contrast themes, which would outshine the curves.
    grid: '#8884',
    background: value(['--vscode-editor-background'], 'transparent'),
    // Not the theme's orange: in the editor's own themes it lets the background through.
    series: [value(['--vscode-charts-blue'], '#56b4e9'), value(['--vscode-charts-yellow'], '#e69f00')],
    more: [
      value(['--vscode-charts-green'], '#2bb38a'),
      value(['--vscode-charts-purple'], '#d58fb8'),
      value(['--vscode-charts-red'], '#d55e00'),
      foreground,
    ],
    band: '#8883',
    ramp: (share) => `hsl(${Math.round(210 - 180 * share)} 70% 50%)`,
  };
}

/** Calls back when the user changes the editor theme: VS Code then rewrites the class of the body. */
export function onThemeChange(listener: () => void): void {
  const observer = new MutationObserver(listener);
  observer.observe(document.body, { attributes: true, attributeFilter: ['class', 'data-vscode-theme-kind'] });
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ['style'] });
}
