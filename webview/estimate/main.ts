/** The estimate page: what a run or a model costs, and where it goes. Follows the text. */
import type { EstimateView } from '../../language/server/protocol.js';
import { attribute, text } from '../diagram/xml.js';
import { chooser, registerControls } from '../common/controls.js';
import { byId } from '../common/dom.js';
import { formatCount, formatLength, formatMs } from '../common/format.js';
import { t } from '../common/l10n.js';
import { connectHost, initialState } from '../common/host.js';
import {
  isEstimateUpdate,
  type EstimateRequest,
  type EstimateState,
  type EstimateUpdate,
} from '../common/messages.js';
import { memoryBar, plansTable, roofline, sweepChart, timeTable } from './pictures.js';
import './main.css';

registerControls();

const host = connectHost<EstimateRequest, EstimateUpdate, EstimateState>(isEstimateUpdate);
const state: EstimateState = host.state() ?? initialState<EstimateState>();
const names = chooser(t('Run or model'), (name) => host.post({ type: 'choose', name }));
byId('toolbar').setAttribute('aria-label', t('Estimate'));
byId('toolbar').append(names.element);

host.onUpdate(({ result }) => {
  const banner = byId('banner');
  banner.textContent = result.error ?? '';
  banner.hidden = result.error === undefined;
  names.setChoices(result.names, result.name);
  state.name = result.name;
  host.keep(state);
  // The last good numbers stay while the text is broken.
  byId('content').classList.toggle('stale', result.view === null);
  if (result.view) byId('content').innerHTML = contentOf(result.view);
});

function contentOf(view: EstimateView): string {
  return [
    facts(view),
    section(t('Memory'), memoryBar(view)),
    section(t('Throughput by sequence length (tokens/s)'), sweepChart(view)),
    section(t('Time of a step'), timeTable(view)),
    section(t('Roofline'), roofline(view)),
    section(t('Ways to spread the batch'), plansTable(view)),
    section(
      t('Assumptions'),
      `<ul>${view.estimate.assumptions.map((line) => `<li>${text(line)}</li>`).join('')}</ul>`,
    ),
  ].join('');
}

function facts({ estimate, device }: EstimateView): string {
  const { transformer, stripedhyena1 } = estimate.comparedWith;
  const rows: [string, string][] = [
    [t('Step'), formatMs(estimate.stepTimeMs)],
    [t('Tokens/s'), formatCount(estimate.tokensPerSecond)],
    [t('MFU'), `${(100 * estimate.mfu).toFixed(1)}%`],
    [t('Parameters'), formatCount(estimate.model.parameters)],
    [t('Sequence'), `${estimate.microBatch} × ${formatLength(estimate.sequence)}, ${estimate.precision}`],
    [t('Device'), device.name],
    ...(transformer
      ? ([[t('Beside a Transformer'), t('{0}× the speed', transformer.speedup.toFixed(2))]] as [
          string,
          string,
        ][])
      : []),
    ...(stripedhyena1
      ? ([[t('Beside StripedHyena 1'), t('{0}× the speed', stripedhyena1.speedup.toFixed(2))]] as [
          string,
          string,
        ][])
      : []),
  ];
  return `<dl id="facts">${rows.map(([name, value]) => `<div><dt>${text(name)}</dt><dd>${text(value)}</dd></div>`).join('')}</dl>`;
}

function section(title: string, content: string): string {
  return `<section aria-label="${attribute(title)}"><h2>${text(title)}</h2>${content}</section>`;
}

host.post({ type: 'ready' });
