import type { RuntimeSettings } from '@bailiff/bpf';
import { expect, it } from 'vitest';
import { bringSampling } from './sampling.ts';

const BEFORE = { hashKey: Buffer.alloc(16, 7), hostMountNs: 1, sampleBurst: 8, samplesPerSecond: 10, abi: 1 };

it.each([
  [
    'another rate is written, and nothing else changes',
    { burst: 8, perSecond: 20 },
    [{ ...BEFORE, samplesPerSecond: 20 }],
  ],
  ['the same is not written again', { burst: 8, perSecond: 10 }, []],
  ['what nobody has said stands', null, []],
])('sampling - %s', (_name, wanted, expected) => {
  const written: RuntimeSettings[] = [];
  bringSampling({ settings: () => BEFORE, setSettings: (settings) => written.push(settings) }, wanted);
  expect(written).toEqual(expected);
});
