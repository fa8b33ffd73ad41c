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
  /** Handed to the page's script, which keeps it over reloads. */
  state: unknown;
  body: string;
}

export const DIAGRAM_BODY = `<div id="toolbar" role="toolbar" aria-label="Preview"></div>
<div id="banner" role="status" hidden></div>
<div id="stage"><div id="picture"></div></div>
<section id="inspector" aria-label="Chosen block" hidden></section>`;

export const ESTIMATE_BODY = `<div id="toolbar" role="toolbar" aria-label="Estimate"></div>
<div id="banner" role="status" hidden></div>
<main id="content"></main>`;

export const MONITOR_BODY = `<div id="banner" role="alert" hidden></div>
<div id="toolbar" role="toolbar" aria-label="Run"></div>
<main>
<div id="progress" role="progressbar" aria-label="Progress" aria-valuemin="0"><div id="progress-bar"></div></div>
<dl id="facts"></dl>
<div id="chart-bar" role="toolbar" aria-label="Charts"></div>
<div id="charts"></div>
<section hidden>
<figure id="profile" role="img" tabindex="0"></figure>
<p id="profile-verdict"></p>
</section>
<section id="checkpoint-section" hidden>
<h2>Checkpoints</h2>
<ol id="checkpoints"></ol>
</section>
<div id="log-bar"><h2 id="log-title">Log</h2></div>
<pre id="log" tabindex="0" aria-labelledby="log-title"></pre>
<h2>Run directory</h2>
<button id="directory" title="Show the run directory"></button>
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
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta property="csp-nonce" content="${nonce}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(parts.title)}</title>
<link rel="stylesheet" href="${style}">
</head>
<body data-state="${escapeHtml(JSON.stringify(parts.state))}">
${parts.body}
<script nonce="${nonce}" src="${script}"></script>
</body>
</html>`;
}

function escapeHtml(value: string): string {
  return value.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
