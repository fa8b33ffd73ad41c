/** How the diagram looks: operators by colour, pattern and letters at once, and the themes. */

import { t } from '../common/l10n.js';

export type OperatorName = 'SE' | 'MR' | 'LI' | 'MHA';

export interface OperatorStyle {
  title: string;
  /** Okabe and Ito's palette, which colour-blind readers can tell apart; dark text reads on all four. */
  colour: string;
  /** Lines or dots over the colour in an 8×8 tile, so that the operators differ without colour too. */
  pattern: string;
}

const INK = '#1b1b1b';

export const OPERATORS: Record<OperatorName, OperatorStyle> = {
  SE: { title: t('Hyena short explicit'), colour: '#56b4e9', pattern: '' },
  MR: {
    title: t('Hyena medium regularised'),
    colour: '#e69f00',
    pattern: `<path d="M-2 2 2 -2M0 8 8 0M6 10 10 6" stroke="${INK}" stroke-width="1.2"/>`,
  },
  LI: {
    title: t('Hyena long implicit'),
    colour: '#2bb38a',
    pattern: `<circle cx="2" cy="2" r="1.1" fill="${INK}"/><circle cx="6" cy="6" r="1.1" fill="${INK}"/>`,
  },
  MHA: {
    title: t('multi-head attention'),
    colour: '#d58fb8',
    pattern: `<path d="M0 4H8M4 0V8" stroke="${INK}" stroke-width="1"/>`,
  },
};

export const OPERATOR_NAMES = Object.keys(OPERATORS) as OperatorName[];

export type Theme = 'light' | 'dark' | 'css';

interface Palette {
  background: string;
  foreground: string;
  muted: string;
  surface: string;
  frame: string;
  border: string;
  accent: string;
}

const PALETTES: Record<Theme, Palette> = {
  light: {
    background: '#ffffff',
    foreground: '#1f2328',
    muted: '#59636e',
    surface: '#f6f8fa',
    frame: '#eef1f5',
    border: '#aab4bf',
    accent: '#0063b0',
  },
  dark: {
    background: '#1e1e1e',
    foreground: '#e4e4e4',
    muted: '#a5abb3',
    surface: '#2a2d31',
    frame: '#25282c',
    border: '#5b626b',
    accent: '#6cb6ff',
  },
  css: {
    background: 'var(--vscode-editor-background)',
    foreground: 'var(--vscode-editor-foreground)',
    muted: 'var(--vscode-descriptionForeground, var(--vscode-editor-foreground))',
    surface: 'var(--vscode-editorWidget-background, var(--vscode-editor-background))',
    frame: 'var(--vscode-sideBar-background, var(--vscode-editor-background))',
    border: 'var(--vscode-contrastBorder, var(--vscode-editorWidget-border, var(--vscode-panel-border)))',
    accent: 'var(--vscode-contrastActiveBorder, var(--vscode-focusBorder))',
  },
};

/** The style sheet of a diagram. In a webview it is adopted by the document: the policy allows no inline one. */
export function diagramStyle(theme: Theme): string {
  const palette = PALETTES[theme];
  return `
.striped-diagram { font-family: ${theme === 'css' ? 'var(--vscode-font-family), ' : ''}system-ui, "DejaVu Sans", sans-serif; }
.striped-diagram text { fill: ${palette.foreground}; font-size: 12px; }
.striped-diagram .background { fill: ${palette.background}; }
.striped-diagram .heading { font-size: 18px; font-weight: 600; }
.striped-diagram .name { font-weight: 600; }
.striped-diagram .muted { fill: ${palette.muted}; font-size: 11px; }
.striped-diagram .end { text-anchor: end; }
.striped-diagram .middle { text-anchor: middle; }
.striped-diagram .tag { fill: ${INK}; font-weight: 700; font-size: 12px; text-anchor: middle; }
.striped-diagram .box { fill: ${palette.surface}; stroke: ${palette.border}; }
.striped-diagram .frame { fill: ${palette.frame}; stroke: ${palette.border}; }
.striped-diagram .stripe > .frame { stroke-dasharray: 5 3; }
.striped-diagram .pile { fill: ${palette.frame}; stroke: ${palette.border}; }
.striped-diagram .stream { fill: none; stroke: ${palette.foreground}; stroke-width: 2; }
.striped-diagram .branch { fill: none; stroke: ${palette.foreground}; stroke-width: 1.2; }
.striped-diagram .arrow { fill: ${palette.foreground}; }
.striped-diagram .add { fill: ${palette.background}; stroke: ${palette.foreground}; stroke-width: 1.4; }
.striped-diagram .band { stroke: ${palette.border}; }
.striped-diagram .time-track { fill: ${palette.border}; opacity: 0.35; }
.striped-diagram .time { fill: ${palette.accent}; }
.striped-diagram .heat { fill: #d55e00; pointer-events: none; }
.striped-diagram .strip-band { stroke: ${palette.border}; stroke-width: 0.5; cursor: pointer; }
.striped-diagram .current > .focus { stroke: ${palette.accent}; stroke-width: 1.5; stroke-dasharray: 4 3; }
.striped-diagram .fold { cursor: pointer; }
.striped-diagram .fold .pill { fill: ${palette.surface}; stroke: ${palette.accent}; }
.striped-diagram [tabindex] { cursor: pointer; outline: none; }
.striped-diagram .focus { fill: none; stroke: none; }
.striped-diagram [tabindex]:focus-visible > .focus { stroke: ${palette.accent}; stroke-width: 2.5; }
.striped-diagram [tabindex]:hover > .hot { stroke: ${palette.accent}; }
`;
}
