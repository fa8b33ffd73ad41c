/** What the editor gives a page: its colours as variables, and the kind of its theme as a class of the body. */

export type ThemeName = 'dark' | 'light' | 'highContrast';

type Colours = Record<string, string>;

/** Of the editor's own default themes, those that our pages use. */
const COLOURS: Record<ThemeName, Colours> = {
  dark: {
    'editor-background': '#1f1f1f',
    'editor-foreground': '#cccccc',
    foreground: '#cccccc',
    descriptionForeground: '#9d9d9d',
    focusBorder: '#0078d4',
    'editorWidget-background': '#202020',
    'sideBar-background': '#181818',
    'panel-border': '#2b2b2b',
    'textCodeBlock-background': '#2b2b2b',
    'badge-background': '#616161',
    'badge-foreground': '#f8f8f8',
    'progressBar-background': '#0078d4',
    'button-background': '#0078d4',
    'button-foreground': '#ffffff',
    'button-hoverBackground': '#026ec1',
    'button-border': '#ffffff12',
    'button-secondaryBackground': '#313131',
    'button-secondaryForeground': '#cccccc',
    'button-secondaryHoverBackground': '#3c3c3c',
    'checkbox-background': '#313131',
    'checkbox-border': '#3c3c3c',
    'checkbox-foreground': '#cccccc',
    'dropdown-background': '#313131',
    'settings-dropdownBackground': '#313131',
    'dropdown-foreground': '#cccccc',
    'dropdown-border': '#3c3c3c',
    'input-background': '#313131',
    'input-foreground': '#cccccc',
    'input-placeholderForeground': '#989898',
    'inputValidation-errorBackground': '#5a1d1d',
    'inputValidation-errorBorder': '#be1100',
    errorForeground: '#f85149',
    'charts-blue': '#59a4f9',
    'charts-orange': '#d18616',
    'charts-green': '#89d185',
    'charts-purple': '#b180d7',
    'charts-red': '#f14c4c',
    'textLink-foreground': '#4daafc',
  },
  light: {
    'editor-background': '#ffffff',
    'editor-foreground': '#3b3b3b',
    foreground: '#3b3b3b',
    descriptionForeground: '#3b3b3b',
    focusBorder: '#005fb8',
    'editorWidget-background': '#f8f8f8',
    'sideBar-background': '#f8f8f8',
    'panel-border': '#e5e5e5',
    'textCodeBlock-background': '#f8f8f8',
    'badge-background': '#cccccc',
    'badge-foreground': '#3b3b3b',
    'progressBar-background': '#005fb8',
    'button-background': '#005fb8',
    'button-foreground': '#ffffff',
    'button-hoverBackground': '#0258a8',
    'button-border': '#0000001a',
    'button-secondaryBackground': '#e5e5e5',
    'button-secondaryForeground': '#3b3b3b',
    'button-secondaryHoverBackground': '#cccccc',
    'checkbox-background': '#f8f8f8',
    'checkbox-border': '#cecece',
    'checkbox-foreground': '#3b3b3b',
    'dropdown-background': '#ffffff',
    'settings-dropdownBackground': '#ffffff',
    'dropdown-foreground': '#3b3b3b',
    'dropdown-border': '#cecece',
    'input-background': '#ffffff',
    'input-foreground': '#3b3b3b',
    'input-placeholderForeground': '#767676',
    'inputValidation-errorBackground': '#f2dede',
    'inputValidation-errorBorder': '#be1100',
    errorForeground: '#f85149',
    'charts-blue': '#1a85ff',
    'charts-orange': '#d18616',
    'charts-green': '#388a34',
    'charts-purple': '#652d90',
    'charts-red': '#e51400',
    'textLink-foreground': '#005fb8',
  },
  highContrast: {
    'editor-background': '#000000',
    'editor-foreground': '#ffffff',
    foreground: '#ffffff',
    descriptionForeground: '#ffffffb3',
    contrastBorder: '#6fc3df',
    contrastActiveBorder: '#f38518',
    focusBorder: '#f38518',
    'editorWidget-background': '#0c141f',
    'sideBar-background': '#000000',
    'panel-border': '#6fc3df',
    'textCodeBlock-background': '#000000',
    'badge-background': '#000000',
    'badge-foreground': '#ffffff',
    'progressBar-background': '#6fc3df',
    'button-background': '#000000',
    'button-foreground': '#ffffff',
    'button-border': '#6fc3df',
    'button-secondaryBackground': '#000000',
    'button-secondaryForeground': '#ffffff',
    'checkbox-background': '#000000',
    'checkbox-border': '#6fc3df',
    'checkbox-foreground': '#ffffff',
    'dropdown-background': '#000000',
    'settings-dropdownBackground': '#000000',
    'dropdown-foreground': '#ffffff',
    'dropdown-border': '#6fc3df',
    'input-background': '#000000',
    'input-foreground': '#ffffff',
    'inputValidation-errorBorder': '#6fc3df',
    errorForeground: '#f48771',
    'charts-blue': '#3794ff',
    'charts-orange': '#d18616',
    'charts-green': '#89d185',
    'charts-purple': '#b180d7',
    'charts-red': '#f48771',
    'textLink-foreground': '#21a6ff',
  },
};

const CLASSES: Record<ThemeName, string> = {
  dark: 'vscode-dark',
  light: 'vscode-light',
  highContrast: 'vscode-high-contrast',
};

/** A script that gives a page a theme, before the page's own runs. */
function scriptOf(name: ThemeName): string {
  const variables = Object.entries(COLOURS[name]).map(([key, value]) => `--vscode-${key}: ${value};`);
  const fonts =
    '--vscode-font-family: "DejaVu Sans", sans-serif; --vscode-font-size: 13px; --vscode-font-weight: normal; ' +
    '--vscode-editor-font-family: "DejaVu Sans Mono"; --vscode-editor-font-size: 12px;';
  return `
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(${JSON.stringify(`:root { ${fonts} ${variables.join(' ')} }`)});
    document.adoptedStyleSheets = [sheet];
    new MutationObserver((_, observer) => {
      if (!document.body) return;
      document.body.className = '${CLASSES[name]}';
      observer.disconnect();
    }).observe(document, { childList: true, subtree: true });`;
}

export const THEMES: Record<ThemeName, string> = {
  dark: scriptOf('dark'),
  light: scriptOf('light'),
  highContrast: scriptOf('highContrast'),
};
