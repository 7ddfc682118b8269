import type { StoredConfig } from '@bailiff/bus';
import type { ResourceKind } from '@bailiff/policy';
import { describe, expect, test } from 'vitest';
import { plan } from './decide.ts';
import type { MirroredResource } from './resource.ts';

const KEY = 'correlation.cluster._.a';
const resource = (part: Partial<MirroredResource> = {}): MirroredResource => ({
  ...{ kind: 'CorrelationRule', name: 'a', uid: 'u1', generation: 2, resourceVersion: '50', status: {} },
  createdAt: '2026-11-25T00:00:00Z',
  spec: { type: 'event_count', level: 'high' },
  ...part,
});
const owner = (part: Partial<NonNullable<StoredConfig['owner']>> = {}) => ({
  ...{ kind: 'CorrelationRule', name: 'a', uid: 'u1', generation: 2, resourceVersion: '50' },
  ...part,
});
const entry = (part: Partial<StoredConfig> = {}): StoredConfig => ({
  ...{ key: KEY, bucketRevision: 9, revision: 4, by: 'x', why: 'y', timestampMicros: 0, deleted: false },
  json: JSON.stringify({ level: 'high', type: 'event_count', revision: 4 }),
  owner: owner(),
  released: false,
  ...part,
});
interface Given {
  resources?: MirroredResource[];
  stored?: StoredConfig[];
  picture?: string;
  problem?: string;
}
function decide({ resources = [resource()], stored = [], picture = '60', problem = '' }: Given) {
  const pictures = new Map<ResourceKind, string>([['CorrelationRule', picture]]);
  if (resources.some(({ kind }) => kind === 'SpoofPolicy')) pictures.set('SpoofPolicy', picture);
  const byKey = new Map(stored.map((one) => [one.key, one]));
  const { decisions, orphans } = plan({ resources, pictures, stored: byKey, check: () => problem });
  return {
    decisions: Object.fromEntries(
      [...decisions].map(([uid, one]) => [
        uid,
        one.state === 'refused' ? one.reason : one.state === 'write' && one.takeOver ? 'take over' : one.state,
      ]),
    ),
    orphans: orphans.map(({ key }) => key),
  };
}

describe('what becomes of a resource', () => {
  test.each<[string, Given, string]>([
    ['nothing stands', {}, 'write'],
    ['what it says stands, in another order', { stored: [entry()] }, 'stands'],
    ['another value of its own stands', { stored: [entry({ json: '{"level":"low","revision":4}' })] }, 'write'],
    ['what stands is no JSON', { stored: [entry({ json: '{' })] }, 'write'],
    ['the command line keeps the key', { stored: [entry({ owner: null })] }, 'Conflict'],
    ['the command line keeps the very value', { stored: [entry({ owner: null, by: '' })] }, 'Conflict'],
    ['the command line released the key', { stored: [entry({ owner: null, released: true })] }, 'take over'],
    ['the command line deleted the key', { stored: [entry({ owner: null, deleted: true })] }, 'write'],
    ['a resource of its name that is gone wrote it', { stored: [entry({ owner: owner({ uid: 'u0' }) })] }, 'take over'],
    [
      'the key was written from a newer picture',
      { stored: [entry({ owner: owner({ resourceVersion: '61' }) })] },
      'Stale',
    ],
    ['from as new a one', { stored: [entry({ owner: owner({ resourceVersion: '60' }) })] }, 'stands'],
    ['a later generation of it was written', { stored: [entry({ owner: owner({ generation: 3 }) })] }, 'Stale'],
    [
      'it was deleted by a newer picture',
      { stored: [entry({ deleted: true, owner: owner({ resourceVersion: '61' }) })] },
      'Stale',
    ],
    [
      'it was deleted by an older picture',
      { stored: [entry({ deleted: true, owner: owner({ generation: 9 }) })] },
      'write',
    ],
    ['it is wrong', { problem: 'spec.level: no', stored: [entry()] }, 'Invalid'],
    ['its name is none of a key', { resources: [resource({ name: 'A' })] }, 'Invalid'],
  ])('%s', (_, given, wanted) => {
    expect(decide(given).decisions).toEqual({ u1: wanted });
  });

  test('versions are numbers, however long', () => {
    const stored = [entry({ owner: owner({ resourceVersion: '99' }) })];
    expect(decide({ stored, picture: '100' }).decisions).toEqual({ u1: 'stands' });
    expect(decide({ stored, picture: '98' }).decisions).toEqual({ u1: 'Stale' });
  });
});

describe('several that mean one key', () => {
  const spoof = (uid: string, createdAt: string) =>
    resource({ kind: 'SpoofPolicy', name: `policy-${uid}`, uid, createdAt, spec: { modes: {} } });
  const key = 'spoof.cluster._.default';
  const [first, second] = [spoof('z', '2026-11-25T00:00:00Z'), spoof('a', '2026-11-25T00:00:01Z')];

  test('the oldest has it, in whatever order they come', () => {
    for (const resources of [
      [first, second],
      [second, first],
    ])
      expect(decide({ resources }).decisions).toEqual({ z: 'write', a: 'Conflict' });
  });

  test('of one second who has it already, otherwise the lesser UID', () => {
    const twin = spoof('a', first.createdAt);
    expect(decide({ resources: [first, twin] }).decisions).toEqual({ z: 'Conflict', a: 'write' });
    const stored = [entry({ key, json: '{"modes":{}}', owner: owner({ kind: 'SpoofPolicy', uid: 'z' }) })];
    expect(decide({ resources: [first, twin], stored }).decisions).toEqual({ z: 'stands', a: 'Conflict' });
  });
});

describe('keys that nobody keeps any more', () => {
  test.each<[string, Given, string[]]>([
    ['the resource is gone', { resources: [], stored: [entry()] }, [KEY]],
    ['it is there', { stored: [entry()] }, []],
    ['it is there and wrong: the last good one stays', { stored: [entry()], problem: 'x' }, []],
    ['the command line keeps it', { resources: [], stored: [entry({ owner: null })] }, []],
    ['nobody keeps it', { resources: [], stored: [entry({ owner: null, released: true })] }, []],
    ['it is deleted already', { resources: [], stored: [entry({ deleted: true })] }, []],
    ['the picture is older than the key', { resources: [], stored: [entry()], picture: '49' }, []],
    ['its kind was not listed', { resources: [], stored: [entry({ owner: owner({ kind: 'RuntimePolicy' }) })] }, []],
    ['its kind is none of ours', { resources: [], stored: [entry({ owner: owner({ kind: 'Other' }) })] }, []],
    ['the resource means another key now', { resources: [resource({ name: 'b' })], stored: [entry()] }, [KEY]],
  ])('%s', (_, given, wanted) => {
    expect(decide(given).orphans).toEqual(wanted);
  });
});
