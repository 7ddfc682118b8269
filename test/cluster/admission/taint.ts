/**
 * Changes of nodes by the account of ipam-sync, and which of them k8s/components/taint-unguarded
 * refuses.
 */
import { UNGUARDED_TAINT_KEY, UNGUARDED_TAINTS } from '@bailiff/policy';
import { type AdmissionCase, type Fixture, patchOf, refusedAs } from './bench.ts';

const GPU = { key: 'example.org/gpu', value: 'yes', effect: 'NoSchedule' };
const DISK = { key: 'example.org/disk', effect: 'PreferNoSchedule' };
const [EFFECT] = UNGUARDED_TAINTS.filter((effect) => effect !== 'off');
const OURS = { key: UNGUARDED_TAINT_KEY, effect: EFFECT };

const NODES = '/api/v1/nodes';
const node = (name: string, taints: object[]): Fixture => ({
  path: NODES,
  object: {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: { zone: 'a' }, annotations: { note: 'b' } },
    spec: taints.length > 0 ? { taints } : {},
  },
});
export const taintFixtures: readonly Fixture[] = [
  node('bare', []),
  node('others', [GPU, DISK]),
  node('both', [GPU, OURS, DISK]),
  node('alone', [OURS]),
];

const patch = patchOf(NODES);
const taints = (list: object[] | null) => ({ spec: { taints: list } });

const ONLY_PATCHES = 'ipam-sync only patches nodes';
const METADATA = 'ipam-sync changes no labels, annotations or other metadata of a node';
const SPEC = "ipam-sync changes nothing of a node's spec but taints";
const OTHERS = 'ipam-sync changes no taint but bailiff.dev/unguarded';
const FORM = 'the taint bailiff.dev/unguarded has the effect NoSchedule and no value';

const TAKEN: readonly AdmissionCase[] = [
  patch('the taint on a node without any', 'bare', taints([OURS])),
  patch('the taint beside others', 'others', taints([GPU, DISK, OURS])),
  patch('the taint before others', 'others', taints([OURS, GPU, DISK])),
  patch('the taint, moved', 'both', taints([GPU, DISK, OURS])),
  patch('the taint removed from between others', 'both', taints([GPU, DISK])),
  patch('the only taint removed', 'alone', taints(null)),
  patch('nothing', 'both', {}),
  // The API server ignores this part: the status has its own path.
  patch('a status beside the taint', 'bare', { status: { phase: 'Running' }, ...taints([OURS]) }),
];

const REFUSED: Parameters<typeof refusedAs>[0] = [
  [
    METADATA,
    [
      patch('one more label', 'bare', { metadata: { labels: { tier: 'x' } } }),
      patch('another value of a label', 'bare', { metadata: { labels: { zone: 'x' } } }),
      patch('one label less', 'bare', { metadata: { labels: { zone: null } } }),
      patch('no labels', 'bare', { metadata: { labels: null } }),
      patch('a label beside the taint', 'bare', { metadata: { labels: { tier: 'x' } }, ...taints([OURS]) }),
      patch('one more annotation', 'bare', { metadata: { annotations: { other: 'x' } } }),
      patch('one annotation less', 'bare', { metadata: { annotations: { note: null } } }),
      patch('no annotations', 'bare', { metadata: { annotations: null } }),
      patch('a finalizer', 'bare', { metadata: { finalizers: ['example.org/x'] } }),
      patch('an owner', 'bare', {
        metadata: { ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'x', uid: 'x' }] },
      }),
      patch('a label by JSON patch', 'bare', [{ op: 'add', path: '/metadata/labels/tier', value: 'x' }], {
        type: 'json',
      }),
    ],
  ],
  [
    SPEC,
    [
      patch('a cordon', 'bare', { spec: { unschedulable: true } }),
      patch('a cordon beside the taint', 'bare', { spec: { unschedulable: true, taints: [OURS] } }),
      patch('a range of pods', 'bare', { spec: { podCIDR: '10.9.0.0/24', podCIDRs: ['10.9.0.0/24'] } }),
      patch('a provider', 'bare', { spec: { providerID: 'x://1' } }),
    ],
  ],
  [
    OTHERS,
    [
      patch('a taint of another key', 'bare', taints([GPU])),
      patch('a taint whose key has the same prefix', 'bare', taints([{ ...OURS, key: `${UNGUARDED_TAINT_KEY}-2` }])),
      patch('a foreign taint removed', 'both', taints([OURS, DISK])),
      patch('all taints removed', 'both', taints(null)),
      patch('foreign taints lost by a strategic patch, which replaces the whole list', 'others', taints([OURS]), {
        type: 'strategic',
      }),
      patch('all foreign taints removed', 'others', taints(null)),
      patch('a foreign taint with another effect', 'others', taints([{ ...GPU, effect: 'NoExecute' }, DISK, OURS])),
      patch('a foreign taint with another value', 'others', taints([{ ...GPU, value: 'no' }, DISK, OURS])),
      patch('foreign taints in another order', 'both', taints([DISK, GPU, OURS])),
    ],
  ],
  [
    FORM,
    [
      patch('the taint as NoExecute', 'bare', taints([{ ...OURS, effect: 'NoExecute' }])),
      patch('the taint as NoExecute too', 'alone', taints([OURS, { ...OURS, effect: 'NoExecute' }])),
      patch('the taint with a value', 'bare', taints([{ ...OURS, value: 'x' }])),
    ],
  ],
  [
    ONLY_PATCHES,
    [
      patch('a status', 'bare/status', { status: { phase: 'Running' } }),
      { what: 'one node less', method: 'DELETE', path: `${NODES}/bare` },
      { what: 'all nodes', method: 'DELETE', path: NODES },
      { what: 'one more node', method: 'POST', path: NODES, body: { metadata: { name: 'more' } } },
    ],
  ],
];

export const taintCases: readonly AdmissionCase[] = [...TAKEN, ...refusedAs(REFUSED)];
