/** The preview page: draws what the extension sends, keeps the viewport and the last good picture. */
import type { PreviewModel } from '../../language/server/protocol.js';
import { button, chooser, registerControls } from '../shared/controls.js';
import { adoptStyle, byId, make } from '../shared/dom.js';
import { connectHost, initialState } from '../shared/host.js';
import type { DiagramRequest, DiagramState, DiagramUpdate } from '../shared/messages.js';
import { Navigation } from './navigation.js';
import { diagramStyle } from './palette.js';
import { renderDiagramSvg } from './svg.js';
import { Viewport } from './viewport.js';
import './main.css';

registerControls();
adoptStyle(diagramStyle('css'));

const host = connectHost<DiagramRequest, DiagramUpdate, DiagramState>();
const state: DiagramState = host.state() ?? initialState<DiagramState>();
const expanded = new Set(state.expanded);
const banner = byId('banner');
const stage = byId('stage');
const picture = byId('picture');

let shown: PreviewModel | null = null;
/** Pictures are laid out asynchronously; only the newest request may draw. */
let newest = 0;

const viewport = new Viewport(stage, picture, state.viewport, (view) => {
  state.viewport = view;
  host.keep(state);
});

const navigation = new Navigation(picture, {
  reveal(item) {
    const position = { line: Number(item.dataset.line), character: Number(item.dataset.character) };
    host.post({ type: 'reveal', range: { start: position, end: position } });
  },
  toggleFold(id) {
    if (!expanded.delete(id)) expanded.add(id);
    state.expanded = [...expanded];
    host.keep(state);
    void redraw();
  },
  moved: (item) => viewport.bringIntoView(item.querySelector('.focus') ?? item),
});

const models = chooser('Model shown', (model) => host.post({ type: 'choose-model', model }));

byId('toolbar').append(
  models.element,
  make('span', 'spacer'),
  button({ label: '−', title: 'Zoom out (-)', appearance: 'icon', onPress: () => viewport.zoom(-1) }).element,
  button({ label: '+', title: 'Zoom in (+)', appearance: 'icon', onPress: () => viewport.zoom(1) }).element,
  button({ label: 'Fit', title: 'Fit to width (0)', onPress: () => viewport.fitWidth() }).element,
  button({ label: 'Save SVG', title: 'Save the picture as SVG', onPress: () => void saveSvg() }).element,
);

host.onUpdate((update) => {
  if (update.type === 'broken') return showBanner(update.message);
  showBanner('');
  if (shown && shown.name !== update.preview.name) viewport.forget();
  shown = update.preview;
  state.uri = update.uri;
  state.model = update.preview.name;
  host.keep(state);
  models.setChoices(update.models, update.preview.name);
  models.element.toggleAttribute('hidden', update.models.length < 2);
  void redraw();
});

window.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === '+' || event.key === '=') viewport.zoom(1);
  else if (event.key === '-') viewport.zoom(-1);
  else if (event.key === '0') viewport.fitWidth();
});

async function redraw(): Promise<void> {
  if (!shown) return;
  const request = ++newest;
  const svg = await renderDiagramSvg(shown, { expanded, theme: 'css' });
  if (request !== newest) return;
  const hadFocus = navigation.hasFocus();
  picture.innerHTML = svg;
  viewport.refresh();
  navigation.refresh(hadFocus);
}

async function saveSvg(): Promise<void> {
  if (!shown) return;
  const isDark = document.body.matches(
    '.vscode-dark, .vscode-high-contrast:not(.vscode-high-contrast-light)',
  );
  const svg = await renderDiagramSvg(shown, { expanded, theme: isDark ? 'dark' : 'light' });
  host.post({ type: 'save-svg', name: shown.name, svg });
}

function showBanner(message: string): void {
  banner.textContent = message;
  banner.hidden = message === '';
  stage.classList.toggle('stale', message !== '' && shown !== null);
}

host.post({ type: 'ready' });
