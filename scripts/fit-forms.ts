/**
 * Fits the forms of Hyena operators that no training step has, to what they took by themselves:
 *   node --import=tsx scripts/fit-forms.ts    test/measured/hyena-forms.json into language/estimate/hardware/hyena-forms.json
 */
import { writeFileSync } from 'node:fs';
import { format } from 'prettier';
import { errorOfRow, fitForms, kernelOfRow, measuredForms } from './support/hyena-forms.js';

const file = measuredForms();
const kernels = fitForms(file);
const text = await format(JSON.stringify(kernels), { parser: 'json', printWidth: 110 });
writeFileSync(new URL('../language/estimate/hardware/hyena-forms.json', import.meta.url), text);
for (const row of file.rows) {
  const { operator, taps, order, sequence, use } = row;
  const kernel = kernelOfRow(row);
  const error = (100 * errorOfRow(row, kernels[kernel]!)).toFixed(1);
  process.stdout.write(`${use} ${kernel}, ${operator} ${taps ?? order}, ${sequence}: ${error}%\n`);
}
