/** Holds the committed layouts and the names equal to the objects' BTF. Needs clang and bpftool. */

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { PACKET_MAPS, RUNTIME_MAPS } from '../../../tools/reference/shares/kernel-maps.ts';
import { layoutSource, mapSizes, RUNTIME_LAYOUT, readBtf, SPOOF_LAYOUT } from '../scripts/layout.ts';
import * as layout from './spoof/layout.gen.ts';
import {
  IFACE_STATES,
  LOSSES,
  MODES,
  NETWORK_PLACES,
  PACKET_ACTIONS,
  TUNNEL_SERVICE_KINDS,
  VECTORS,
} from './spoof/names.ts';

const at = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

/** `source-mac` for VECTOR_SOURCE_MAC, in the order of the values and without the closing count. */
function wordsOf(values: Record<string, number>, prefix: string): string[] {
  return Object.entries(values)
    .sort(([, a], [, b]) => a - b)
    .map(([name]) => name.slice(prefix.length).toLowerCase().replaceAll('_', '-'))
    .filter((name) => name !== 'count');
}

describe('layout', () => {
  const dir = temporaryDirectory();
  beforeAll(() => {
    const build = ['--import', 'tsx', at('../scripts/build-bpf.ts'), '--out', dir];
    execFileSync(process.execPath, build, { stdio: 'pipe' });
  }, 60_000);

  it.each([
    { plan: SPOOF_LAYOUT, file: './spoof/layout.gen.ts' },
    { plan: RUNTIME_LAYOUT, file: './runtime/layout.gen.ts' },
  ])('layout - the committed $file equals the BTF of the object', ({ plan, file }) => {
    const source = layoutSource(readBtf(path.join(dir, plan.object)), plan);
    expect(source).toBe(readFileSync(at(file), 'utf8'));
  });

  it.each([
    { maps: PACKET_MAPS, object: SPOOF_LAYOUT.object, without: [] as string[] },
    { maps: RUNTIME_MAPS, object: RUNTIME_LAYOUT.object, without: ['samples'] },
  ])('maps - each map of $object has its share, and its size is as listed', ({ maps, object, without }) => {
    const sizes = [...mapSizes(readBtf(path.join(dir, object)))].filter(([name]) => !without.includes(name));
    expect(Object.fromEntries(Object.entries(maps).map(([name, { size }]) => [name, size]))).toEqual(
      Object.fromEntries(sizes),
    );
  });

  it('layout - the names follow the enums', () => {
    expect(wordsOf(layout.VectorValues, 'VECTOR_')).toEqual([...VECTORS]);
    expect(wordsOf(layout.ModeValues, 'MODE_')).toEqual([...MODES]);
    expect(wordsOf(layout.ActionValues, 'ACTION_')).toEqual(['audit', 'drop']);
    expect(PACKET_ACTIONS).toEqual(['audit', 'drop']);
    expect(wordsOf(layout.IfaceStateValues, 'STATE_')).toEqual([...IFACE_STATES]);
    expect(wordsOf(layout.LossValues, 'LOSS_')).toEqual([...LOSSES]);
    expect(wordsOf(layout.NetworkValues, 'NETWORK_')).toEqual([...NETWORK_PLACES]);
    expect(wordsOf(layout.ServiceFlagValues, 'SERVICE_')).toEqual([...TUNNEL_SERVICE_KINDS]);
    expect(Object.values(layout.ServiceFlagValues)).toEqual(TUNNEL_SERVICE_KINDS.map((_, bit) => 1 << bit));
  });

  it('layout - the counters have a cell for each vector, action and state', () => {
    const cells = 32 * PACKET_ACTIONS.length * IFACE_STATES.length;
    expect(layout.CountersLayout.size).toBe(cells * layout.CounterCellLayout.size);
    expect(VECTORS.length).toBeLessThanOrEqual(32);
    expect(layout.IfaceLayout.modes.size).toBe(32);
  });
});
