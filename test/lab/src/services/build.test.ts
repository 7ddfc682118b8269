import { expect, it } from 'vitest';
import { buildingText } from './build.ts';

it.each([
  [['apps/collector/dist/main.mjs'], 'building 1 part, up to two minutes the first time'],
  [
    ['apps/collector/dist/main.mjs', 'libs/bpf/build/bpf/spoof.bpf.o', 'libs/bpf/build/bpf/runtime.bpf.o'],
    'building 2 parts, up to two minutes the first time',
  ],
])('build - one line, each part once: %j', (outputs, text) => {
  expect(buildingText(outputs)).toBe(text);
});
