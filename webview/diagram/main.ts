/** The preview page: draws what the extension sends, keeps the viewport and the last good picture. */
import type { PreviewModel, SourceRange } from '../../language/server/protocol.js';
import { button, chooser, registerControls } from '../common/controls.js';
import { adoptStyle, byId, make } from '../common/dom.js';
import { connectHost, initialState } from '../common/host.js';
import { t } from '../common/l10n.js';
import {
  isDiagramUpdate,
  type DiagramRequest,
  type DiagramState,
  type DiagramUpdate,
} from '../common/messages.js';
import { HEAT_NAMES, HEATS } from './heat.js';
import { highlight } from './highlight.js';
import { Inspector } from './inspector.js';
import { layoutDiagram, loadElk } from './layout.js';
import { Moving } from './moving.js';
import { Navigation } from './navigation.js';
import { diagramStyle, type Theme } from './palette.js';
import { pngOf } from './png.js';
import { besideEachOther, renderDiagramSvg } from './svg.js';
import { buildTree } from './tree.js';
import { Viewport } from './viewport.js';
import './main.css';

registerControls();
adoptStyle(diagramStyle('css'));

const host = connectHost<DiagramRequest, DiagramUpdate, DiagramState>(isDiagramUpdate);
const state: DiagramState = host.state() ?? initialState<DiagramState>();
const expanded = new Set(state.expanded);
const banner = byId('banner');
const stage = byId('stage');
const picture = byId('picture');

const NOTHING = t('compare with …');

let shown: PreviewModel | null = null;
let other: PreviewModel | null = null;
let shownVersion = 0;
/** Of the text that the ranges in the picture are in. */
let version = 0;
let isElkAwaited = false;
let cursor: { line: number; character: number } | null = null;
/** Pictures are laid out asynchronously; only the newest request may draw. */
let newest = 0;

const viewport = new Viewport(stage, picture, state.viewport, (view) => {
  state.viewport = view;
  host.keep(state);
});

const inspector = new Inspector(byId('inspector'), {
  edit: (edit) => host.post({ type: 'edit', version, edit }),
  reveal: (item) => reveal(item),
  revealRange: (range, model) => revealRange(range, model),
  move: (item, direction) => moving.moveBy(item, direction),
  closed: () => navigation.focus(),
});

const moving = new Moving(stage, picture, {
  edit: (edit) => host.post({ type: 'edit', version, edit }),
  follow: (id) => navigation.follow(id),
});

const navigation = new Navigation(picture, {
  move: (item, direction) => moving.moveBy(item, direction),
  inspect: (item) => inspect(item),
  reveal(item) {
    inspect(item);
    reveal(item);
  },
  toggleFold(id) {
    if (!expanded.delete(id)) expanded.add(id);
    state.expanded = [...expanded];
    host.keep(state);
    void redraw();
  },
  moved: (item) => viewport.bringIntoView(item.querySelector('.focus') ?? item),
});

picture.addEventListener('click', (event) => {
  const band = (event.target as Element).closest<SVGElement>('.strip-band');
  if (band) reveal(band);
});

const heatChoices = new Map(HEATS.map((heat) => [t('colour: {0}', HEAT_NAMES[heat]), heat] as const));
const heats = chooser(t('Colour of the blocks'), (choice) => {
  state.heat = heatChoices.get(choice) ?? 'none';
  host.keep(state);
  void redraw();
});
heats.setChoices([...heatChoices.keys()], t('colour: {0}', HEAT_NAMES[state.heat ?? 'none']));
const comparisons = chooser(t('Model to compare with'), (choice) => {
  host.post({ type: 'compare', model: choice === NOTHING ? null : choice });
});
const models = chooser(t('Model shown'), (model) => host.post({ type: 'choose-model', model }));

byId('toolbar').setAttribute('aria-label', t('Preview'));
byId('inspector').setAttribute('aria-label', t('Chosen block'));
byId('toolbar').append(
  models.element,
  comparisons.element,
  heats.element,
  make('span', 'spacer'),
  button({ label: '−', title: t('Zoom out (-)'), appearance: 'icon', onPress: () => viewport.zoom(-1) })
    .element,
  button({ label: '+', title: t('Zoom in (+)'), appearance: 'icon', onPress: () => viewport.zoom(1) })
    .element,
  button({ label: t('Fit'), title: t('Fit to width (0)'), onPress: () => viewport.fitWidth() }).element,
  button({ label: 'SVG', title: t('Save the picture as SVG'), onPress: () => void save('svg') }).element,
  button({ label: 'PNG', title: t('Save the picture as PNG'), onPress: () => void save('png') }).element,
);

host.onUpdate((update) => {
  if (update.type === 'cursor') {
    cursor = update;
    return highlight(picture, cursor);
  }
  if (update.type === 'broken') return showBanner(update.message);
  showBanner('');
  const hadOther = other !== null;
  other = update.other ?? null;
  if (shown && (shown.name !== update.preview.name || hadOther !== (other !== null))) viewport.forget();
  shown = update.preview;
  shownVersion = update.version;
  state.uri = update.uri;
  state.model = update.preview.name;
  if (other) state.compared = other.name;
  else delete state.compared;
  host.keep(state);
  models.setChoices(update.models, update.preview.name);
  models.element.toggleAttribute('hidden', update.models.length < 2);
  const others = update.models.filter((name) => name !== update.preview.name);
  comparisons.setChoices([NOTHING, ...others], other?.name ?? NOTHING);
  comparisons.element.toggleAttribute('hidden', others.length === 0);
  void redraw();
});

window.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement) return;
  if (event.key === '+' || event.key === '=') viewport.zoom(1);
  else if (event.key === '-') viewport.zoom(-1);
  else if (event.key === '0') viewport.fitWidth();
  else if (event.key === 'Escape') inspector.close();
});

/** The pictures, one or two; the ids of the second one are apart. */
function draw(theme: Theme): Promise<string[]> {
  const heat = state.heat ?? 'none';
  const pairs = [shown, other].filter((model) => model !== null);
  return Promise.all(
    pairs.map((model, side) =>
      renderDiagramSvg(model, { expanded, theme, heat, idPrefix: side === 0 ? '' : 'other' }),
    ),
  );
}

async function redraw(): Promise<void> {
  const model = shown;
  if (!model) return;
  const request = ++newest;
  const drawnVersion = shownVersion;
  const pictures = await draw('css');
  if (request !== newest) return;
  const hadFocus = navigation.hasFocus();
  picture.innerHTML = pictures.join('');
  // Not before: an edit that is asked for in between goes by the ranges of the old picture.
  version = drawnVersion;
  viewport.refresh();
  navigation.refresh(hadFocus);
  highlight(picture, cursor);
  inspector.refresh(picture, modelOf);
  requestAnimationFrame(() => setTimeout(markPainted));
  if (!isElkAwaited) requestIdleCallback(() => void prepareElk(model));
  isElkAwaited = true;
}

/**
 * Loads ELK, and has it lay out the picture that stands: its first layout takes ten times as long as those that follow, so
 * long as no keystroke should. Where it does not load, pictures are placed directly, as the first one was.
 */
async function prepareElk(model: PreviewModel): Promise<void> {
  await loadElk()
    .then(() => layoutDiagram(buildTree(model, expanded)))
    .catch(() => undefined);
}

/** For whoever measures: the newest picture can be seen from here on. */
function markPainted(): void {
  performance.clearMarks('picture');
  performance.mark('picture');
}

function modelOf(id: string): PreviewModel | null {
  return id.startsWith('other') ? other : shown;
}

function inspect(item: SVGElement): void {
  const model = modelOf(item.dataset.id ?? '');
  if (model) inspector.show(item, model);
}

/** Shows the text that made a part of the picture. */
function reveal(item: SVGElement): void {
  const { line, character, file } = item.dataset;
  const at = { line: Number(line), character: Number(character) };
  const model = item.closest('svg') === picture.firstElementChild ? shown : other;
  if (model) revealRange({ start: at, end: at, ...(file !== undefined && { file: Number(file) }) }, model);
}

function revealRange({ start, end, file }: SourceRange, model: PreviewModel): void {
  const uri = file === undefined ? undefined : model.otherFiles[file];
  host.post({ type: 'reveal', range: { start, end }, ...(uri !== undefined && { uri }) });
}

async function save(format: 'svg' | 'png'): Promise<void> {
  if (!shown) return;
  const isDark = document.body.matches(
    '.vscode-dark, .vscode-high-contrast:not(.vscode-high-contrast-light)',
  );
  const pictures = await draw(isDark ? 'dark' : 'light');
  const svg = pictures.length === 1 ? pictures[0]! : besideEachOther(pictures);
  const { name } = shown;
  if (format === 'svg') return host.post({ type: 'save-svg', name, svg });
  try {
    host.post({ type: 'save-png', name, png: await pngOf(svg) });
  } catch (error) {
    showBanner((error as Error).message);
  }
}

function showBanner(message: string): void {
  banner.textContent = message;
  banner.hidden = message === '';
  stage.classList.toggle('stale', message !== '' && shown !== null);
}

host.post({ type: 'ready' });
