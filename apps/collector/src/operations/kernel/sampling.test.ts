import type { RuntimeSettings } from '@bailiff/bpf';
import { expect, it } from 'vitest';
import { SETTINGS as BEFORE } from '../testing.ts';
import { applySampling } from './sampling.ts';

it.each([
  ['another rate - written, nothing else changes', { burst: 8, perSecond: 20 }, [{ ...BEFORE, samplesPerSecond: 20 }]],
  ['the same rate - not written', { burst: 8, perSecond: 10 }, []],
  ['not received - unchanged', null, []],
])('sampling - %s', (_name, desired, expected) => {
  const written: RuntimeSettings[] = [];
  applySampling({ settings: () => BEFORE, setSettings: (settings) => written.push(settings) }, desired);
  expect(written).toEqual(expected);
});
