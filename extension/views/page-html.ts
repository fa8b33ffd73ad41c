/** The pages' HTML, free of the editor so that tests can serve it in a plain browser. */

export interface PageAddresses {
  script: string;
  style: string;
  /** What the content security policy calls the place that styles and fonts come from. */
  source: string;
  nonce: string;
}

export interface PageParts {
  title: string;
  /** Of the texts, as in `en` or `pt-br`. */
  language: string;
  /** Texts of the page in that language, by their English. */
  texts: Record<string, unknown>;
  /** Handed to the page's script, which keeps it over reloads. */
  state: unknown;
  body: string;
}

export const DIAGRAM_BODY = `<div id="toolbar" role="toolbar"></div>
<div id="banner" role="status" hidden></div>
<main id="stage"><div id="picture"></div></main>
<section id="inspector" hidden></section>`;

export const ESTIMATE_BODY = `<div id="toolbar" role="toolbar"></div>
<div id="banner" role="status" hidden></div>
<main id="content"></main>`;

export const MONITOR_BODY = `<div id="banner" role="alert" hidden></div>
<header id="toolbar"></header>
<main>
<div id="progress" role="progressbar" aria-valuemin="0"><div id="progress-bar"></div></div>
<dl id="facts"></dl>
<div id="chart-bar" role="toolbar"></div>
<div id="charts"></div>
<div id="reports">
<section id="parts" hidden></section>
<section id="profile" hidden></section>
<section id="time-constants" hidden></section>
</div>
<section id="checkpoints" hidden></section>
<section id="log-section"></section>
</main>`;

/**
 * A page: our one script by nonce, our one style sheet, no other source of anything. The controls find the
 * nonce in the `csp-nonce` meta element and put it on the style elements that they make.
 */
export function pageDocument({ script, style, source, nonce }: PageAddresses, parts: PageParts): string {
  const policy = [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src ${source} 'nonce-${nonce}'`,
    `font-src ${source}`,
    // The picture as an image, to be drawn as PNG.
    'img-src data:',
  ].join('; ');
  return `<!DOCTYPE html>
<html lang="${escapeHtml(parts.language)}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta property="csp-nonce" content="${nonce}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(parts.title)}</title>
<link rel="stylesheet" href="${style}">
</head>
<body data-state="${escapeHtml(JSON.stringify(parts.state))}" data-texts="${escapeHtml(JSON.stringify(parts.texts))}">
${parts.body}
<script type="module" nonce="${nonce}" src="${script}"></script>
</body>
</html>`;
}

function escapeHtml(value: string): string {
  return value.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
