// Figures that pages repeat from docs/benchmarks.md match it.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

const DOCS = path.resolve(import.meta.dirname, '../docs');
const benchmarks = readFileSync(path.join(DOCS, 'benchmarks.md'), 'utf8');
const sizing =
  readFileSync(path.join(DOCS, 'operations.md'), 'utf8')
    .split('\n## ')
    .find((part) => part.startsWith('Sizing')) ?? '';
const row = (name: string) => Number(new RegExp(`^\\| ${name} \\| ([\\d.]+) MB \\|`, 'm').exec(benchmarks)?.[1]);

it('docs - what a collector and a correlator take is what was measured', () => {
  const rounded = (name: string) => Math.round(row(name));
  expect(sizing).toContain(`${rounded('250 pods programmed')} MB at 250 pods, ${rounded('no pods, at the start')} MB`);
  const correlator = /(\d+) MB at 2,000 violating pods, (\d+) MB at 20,000, (\d+) MB at 60,000/.exec(sizing);
  expect(correlator?.slice(1).map(Number)).toEqual(
    ['2,000', '20,000', '60,000'].map((n) => rounded(`memory at ${n} pods`)),
  );
});

it('docs - the rates of a flood and of a correlator are what was measured', () => {
  const thousands = (rate: string | undefined) => `${Math.round(Number(rate?.replaceAll(',', '')) / 1000)},000`;
  const [, flood] = /^\| 5,000,000 \| ([\d,]+) \|/m.exec(benchmarks) ?? [];
  const [, correlator] = /^\| correlator \| ([\d,]+) violations\/s \|/m.exec(benchmarks) ?? [];
  expect(sizing).toContain(`${thousands(flood)} packets per second`);
  expect(sizing).toContain(`${thousands(correlator)} violations per second`);
});
