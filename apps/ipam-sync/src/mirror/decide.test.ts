import type { StoredConfig } from '@bailiff/bus';
import type { ResourceKind } from '@bailiff/policy';
import { describe, expect, test } from 'vitest';
import { plan } from './decide.ts';
import type { MirroredResource } from './resource.ts';

const KEY = 'correlation.cluster._.a';
const resource = (part: Partial<MirroredResource> = {}): MirroredResource => ({
  kind: 'CorrelationRule',
  name: 'a',
  uid: 'u1',
  generation: 2,
  resourceVersion: '50',
  status: {},
  createdAt: '2026-11-25T00:00:00Z',
  change: null,
  spec: { type: 'event_count', level: 'high' },
  signature: '',
  ...part,
});
const owner = (part: Partial<NonNullable<StoredConfig['owner']>> = {}) => ({
  kind: 'CorrelationRule',
  name: 'a',
  uid: 'u1',
  generation: 2,
  resourceVersion: '50',
  ...part,
});
const entry = (part: Partial<StoredConfig> = {}): StoredConfig => ({
  key: KEY,
  bucketRevision: 9,
  revision: 4,
  by: 'x',
  why: 'y',
  timestampMicros: 0,
  deleted: false,
  json: JSON.stringify({ level: 'high', type: 'event_count', revision: 4 }),
  owner: owner(),
  released: false,
  signature: '',
  ...part,
});
interface Given {
  resources?: MirroredResource[];
  stored?: StoredConfig[];
  listedVersion?: string;
  problem?: string;
}
function decide({ resources = [resource()], stored = [], listedVersion = '60', problem = '' }: Given) {
  const listedVersions = new Map<ResourceKind, string>([['CorrelationRule', listedVersion]]);
  if (resources.some(({ kind }) => kind === 'SpoofPolicy')) listedVersions.set('SpoofPolicy', listedVersion);
  const byKey = new Map(stored.map((one) => [one.key, one]));
  const { decisions, orphans } = plan({ resources, listedVersions, stored: byKey, check: () => problem });
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

describe('decision per resource', () => {
  test.each<[string, Given, string]>([
    ['nothing stands', {}, 'write'],
    ['the same value is stored, with another order of fields', { stored: [entry()] }, 'unchanged'],
    ['another signature is stored', { stored: [entry({ signature: 'x' })] }, 'write'],
    ['another value of its own is stored', { stored: [entry({ json: '{"level":"low","revision":4}' })] }, 'write'],
    ['the stored value is no JSON', { stored: [entry({ json: '{' })] }, 'write'],
    ['the command line owns the key', { stored: [entry({ owner: null })] }, 'Conflict'],
    ['the command line owns the same value', { stored: [entry({ owner: null, by: '' })] }, 'Conflict'],
    ['the command line released the key', { stored: [entry({ owner: null, released: true })] }, 'take over'],
    ['the command line deleted the key', { stored: [entry({ owner: null, deleted: true })] }, 'write'],
    ['written by a deleted resource with its name', { stored: [entry({ owner: owner({ uid: 'u0' }) })] }, 'take over'],
    [
      'the key was written from a newer version than listed',
      { stored: [entry({ owner: owner({ resourceVersion: '61' }) })] },
      'Stale',
    ],
    ['from the listed version', { stored: [entry({ owner: owner({ resourceVersion: '60' }) })] }, 'unchanged'],
    ['a later generation was written', { stored: [entry({ owner: owner({ generation: 3 }) })] }, 'Stale'],
    [
      'deleted at a newer version than listed',
      { stored: [entry({ deleted: true, owner: owner({ resourceVersion: '61' }) })] },
      'Stale',
    ],
    [
      'deleted at an older version than listed',
      { stored: [entry({ deleted: true, owner: owner({ generation: 9 }) })] },
      'write',
    ],
    ['invalid', { problem: 'spec.level: no', stored: [entry()] }, 'Invalid'],
    ['its name is not valid as a key', { resources: [resource({ name: 'A' })] }, 'Invalid'],
  ])('%s', (_, given, wanted) => {
    expect(decide(given).decisions).toEqual({ u1: wanted });
  });

  test('versions are numbers, however long', () => {
    const stored = [entry({ owner: owner({ resourceVersion: '99' }) })];
    expect(decide({ stored, listedVersion: '100' }).decisions).toEqual({ u1: 'unchanged' });
    expect(decide({ stored, listedVersion: '98' }).decisions).toEqual({ u1: 'Stale' });
  });
});

describe('several resources for one key', () => {
  const spoof = (uid: string, createdAt: string) =>
    resource({ kind: 'SpoofPolicy', name: `policy-${uid}`, uid, createdAt, spec: { modes: {} } });
  const key = 'spoof.cluster._.default';
  const [first, second] = [spoof('z', '2026-11-25T00:00:00Z'), spoof('a', '2026-11-25T00:00:01Z')];

  test('the oldest owns it, in any order of events', () => {
    for (const resources of [
      [first, second],
      [second, first],
    ])
      expect(decide({ resources }).decisions).toEqual({ z: 'write', a: 'Conflict' });
  });

  test('within one second the present owner, otherwise the lesser UID', () => {
    const twin = spoof('a', first.createdAt);
    expect(decide({ resources: [first, twin] }).decisions).toEqual({ z: 'Conflict', a: 'write' });
    const stored = [entry({ key, json: '{"modes":{}}', owner: owner({ kind: 'SpoofPolicy', uid: 'z' }) })];
    expect(decide({ resources: [first, twin], stored }).decisions).toEqual({ z: 'unchanged', a: 'Conflict' });
  });
});

describe('orphaned keys', () => {
  test.each<[string, Given, string[]]>([
    ['the resource was deleted', { resources: [], stored: [entry()] }, [KEY]],
    ['the resource exists', { stored: [entry()] }, []],
    ['the resource is invalid: the last valid value stays', { stored: [entry()], problem: 'x' }, []],
    ['the command line owns it', { resources: [], stored: [entry({ owner: null })] }, []],
    ['it has no owner', { resources: [], stored: [entry({ owner: null, released: true })] }, []],
    ['already deleted', { resources: [], stored: [entry({ deleted: true })] }, []],
    ['the list is older than the key', { resources: [], stored: [entry()], listedVersion: '49' }, []],
    [
      'its kind was not listed completely',
      { resources: [], stored: [entry({ owner: owner({ kind: 'RuntimePolicy' }) })] },
      [],
    ],
    ['its kind is unknown', { resources: [], stored: [entry({ owner: owner({ kind: 'Other' }) })] }, []],
    ['the resource names another key now', { resources: [resource({ name: 'b' })], stored: [entry()] }, [KEY]],
  ])('%s', (_, given, wanted) => {
    expect(decide(given).orphans).toEqual(wanted);
  });
});
