/**
 * Changes of pods, nodes and network policies by the responder's account, and which of them
 * k8s/components/responder-narrowed refuses.
 */
import { CORDONED_BY, QUARANTINE_LABEL, VERDICT_ID, VERDICT_LABEL } from '@bailiff/response';
import { podBody } from '../contract/fixtures.ts';
import { type AdmissionCase, type Fixture, patchOf, refusedAs } from './bench.ts';

const [NODES, PODS] = ['/api/v1/nodes', '/api/v1/namespaces/shop/pods'];
const POLICIES = '/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies';
const UID = '0b0e7c1e-0000-4000-8000-000000000001';
const UID_2 = '0b0e7c1e-0000-4000-8000-000000000002';

const UID_3 = '0b0e7c1e-0000-4000-8000-000000000003';

const numbered = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`n-${i}`, '']));
const node = (name: string, spec: object, annotations: object): Fixture => ({
  path: NODES,
  object: { metadata: { name, labels: { zone: 'a' }, annotations: { note: 'b', ...annotations } }, spec },
});
const pod = (name: string, labels: Record<string, string>, annotations: object): Fixture => {
  const body = podBody(name, { labels: { app: 'web', ...labels }, bound: true });
  return {
    path: PODS,
    object: { ...body, metadata: { ...body['metadata'], annotations: { note: 'b', ...annotations } } },
  };
};
/** As the responder writes it. */
const record = (uid: string, name = `bailiff-quarantine-${uid}`) => ({
  metadata: {
    name,
    labels: { 'app.kubernetes.io/managed-by': 'bailiff' },
    ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: 'web', uid }],
  },
  spec: { podSelector: { matchLabels: { [QUARANTINE_LABEL]: uid } }, policyTypes: ['Ingress', 'Egress'] },
});
const somebodys = (name: string, podSelector: object = {}) => ({
  metadata: { name },
  spec: { podSelector, policyTypes: ['Ingress'] },
});

export const responderFixtures: readonly Fixture[] = [
  { path: '/api/v1/namespaces', object: { metadata: { name: 'shop' } } },
  node('free', {}, {}),
  node('ours', { unschedulable: true }, { [CORDONED_BY]: 'v1' }),
  node('theirs', { unschedulable: true }, {}),
  pod('web', {}, {}),
  pod('marked', { [VERDICT_LABEL]: 'high', [QUARANTINE_LABEL]: UID }, { [VERDICT_ID]: 'v1' }),
  pod('some', {}, numbered(990)),
  pod('many', {}, numbered(1_001)),
  pod('labelled', numbered(1_001), {}),
  { path: POLICIES, object: record(UID) },
  { path: POLICIES, object: { ...record(UID_3), spec: { ...record(UID_3).spec, ingress: [{}] } } },
  { path: POLICIES, object: somebodys('theirs') },
];

const patchNode = patchOf(NODES as string);
const patchPod = patchOf(PODS as string);
const metadata = (change: object) => ({ metadata: change });
const marked = (mark: string | null, unschedulable: boolean | null) => ({
  metadata: { annotations: { [CORDONED_BY]: mark } },
  spec: { unschedulable },
});
const post = (what: string, path: string, body: object): AdmissionCase => ({ what, method: 'POST', path, body });
const remove = (what: string, path: string): AdmissionCase => ({ what, method: 'DELETE', path });

const TAKEN: readonly AdmissionCase[] = [
  patchPod(
    'a verdict on a pod',
    'web',
    metadata({ labels: { [VERDICT_LABEL]: 'high' }, annotations: { [VERDICT_ID]: 'v2' } }),
  ),
  patchPod(
    'a newer verdict',
    'marked',
    metadata({ labels: { [VERDICT_LABEL]: 'low' }, annotations: { [VERDICT_ID]: 'v2' } }),
  ),
  patchPod(
    'no verdict any more',
    'marked',
    metadata({ labels: { [VERDICT_LABEL]: null }, annotations: { [VERDICT_ID]: null } }),
  ),
  patchPod('a verdict on a pod with many annotations', 'some', metadata({ labels: { [VERDICT_LABEL]: 'high' } })),
  patchPod('the mark of a quarantine', 'web', metadata({ labels: { [QUARANTINE_LABEL]: UID_2 } })),
  patchPod('no mark of a quarantine', 'marked', metadata({ labels: { [QUARANTINE_LABEL]: null } })),
  patchPod('a patch of a pod that changes nothing', 'marked', {}),
  remove('a pod deleted', `${PODS}/web`),
  post('a pod evicted', `${PODS}/web/eviction`, {
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { name: 'web' },
  }),
  post('the record of a quarantine', POLICIES, record(UID_2)),
  remove('no record of a quarantine', `${POLICIES}/bailiff-quarantine-${UID}`),
  remove('no record of a quarantine that its tenant has changed', `${POLICIES}/bailiff-quarantine-${UID_3}`),
  patchNode('a cordon', 'free', marked('v2', true)),
  patchNode('a cordon by another verdict', 'ours', marked('v2', true)),
  patchNode('no cordon any more', 'ours', marked(null, null)),
  patchNode('a patch of a node that changes nothing', 'theirs', {}),
];

const REFUSED: Parameters<typeof refusedAs>[0] = [
  [
    'the responder only patches, deletes and evicts pods',
    [
      patchPod('a status of a pod', 'web/status', { status: { phase: 'Running' } }),
      post('one more pod', PODS as string, podBody('more')),
    ],
  ],
  [
    'the responder changes no pod with more than 1000 labels or annotations',
    [
      patchPod(
        'a verdict on a pod with too many annotations',
        'many',
        metadata({ labels: { [VERDICT_LABEL]: 'low' } }),
      ),
      patchPod(
        'a verdict on a pod with too many labels',
        'labelled',
        metadata({ annotations: { [VERDICT_ID]: 'v2' } }),
      ),
    ],
  ],
  [
    "the responder changes nothing of a pod's spec",
    [
      patchPod(
        'another image',
        'web',
        { spec: { containers: [{ name: 'main', image: 'evil' }] } },
        { type: 'strategic' },
      ),
      patchPod('a deadline beside a verdict', 'web', {
        ...metadata({ labels: { [VERDICT_LABEL]: 'high' } }),
        spec: { activeDeadlineSeconds: 1 },
      }),
    ],
  ],
  [
    'the responder changes no metadata of a pod but labels and annotations',
    [
      patchPod('a finalizer', 'web', metadata({ finalizers: ['example.org/x'] })),
      patchPod(
        'an owner',
        'web',
        metadata({ ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: 'x', uid: 'x' }] }),
      ),
    ],
  ],
  [
    'the responder changes no label of a pod but bailiff.dev/verdict and bailiff.dev/quarantine',
    [
      patchPod('another value of a label', 'web', metadata({ labels: { app: 'x' } })),
      patchPod('one label less', 'web', metadata({ labels: { app: null } })),
      patchPod('one more label beside a verdict', 'web', metadata({ labels: { [VERDICT_LABEL]: 'high', tier: 'x' } })),
      patchPod('no labels', 'web', metadata({ labels: null })),
      patchPod('another label of Bailiff’s prefix', 'web', metadata({ labels: { 'bailiff.dev/other': 'x' } })),
    ],
  ],
  [
    'the responder changes no annotation of a pod but bailiff.dev/verdict-id',
    [
      patchPod('one more annotation', 'web', metadata({ annotations: { other: 'x' } })),
      patchPod(
        'an exception for a pod',
        'web',
        metadata({ annotations: { 'bailiff.dev/allowed-prefixes': '0.0.0.0/0' } }),
      ),
      patchPod('no annotations', 'web', metadata({ annotations: null })),
    ],
  ],
  [
    'the responder only patches nodes',
    [
      patchNode('a status of a node', 'free/status', { status: { phase: 'Running' } }),
      remove('one node less', `${NODES}/free`),
      post('one more node', NODES as string, { metadata: { name: 'more' } }),
    ],
  ],
  [
    "the responder changes nothing of a node's spec but unschedulable",
    [
      patchNode('a taint', 'free', { spec: { taints: [{ key: 'a', effect: 'NoExecute' }] } }),
      patchNode('a provider', 'free', { spec: { providerID: 'x://1' } }),
    ],
  ],
  [
    'the responder changes no metadata of a node but annotations',
    [patchNode('a label of a node', 'free', metadata({ labels: { zone: 'x' } }))],
  ],
  [
    'the responder changes no annotation of a node but bailiff.dev/cordoned-by',
    [
      patchNode('an annotation of a node', 'free', metadata({ annotations: { other: 'x' } })),
      patchNode('no annotations of a node', 'ours', { metadata: { annotations: null }, spec: { unschedulable: null } }),
    ],
  ],
  [
    'the responder cordons under bailiff.dev/cordoned-by, and uncordons nothing else',
    [
      patchNode('a cordon without the mark', 'free', { spec: { unschedulable: true } }),
      patchNode('removal of another user’s cordon', 'theirs', { spec: { unschedulable: null } }),
    ],
  ],
  [
    'the responder sets bailiff.dev/cordoned-by only on nodes that it cordons itself',
    [
      patchNode('the mark on another user’s cordon', 'theirs', marked('v2', true)),
      patchNode('the mark without a cordon', 'free', marked('v2', null)),
      patchNode('the mark left without its cordon', 'ours', { spec: { unschedulable: null } }),
    ],
  ],
  [
    'the responder only creates and deletes network policies',
    [patchOf(POLICIES)('a record changed', `bailiff-quarantine-${UID}`, { spec: { ingress: [{}] } })],
  ],
  [
    'the responder creates and deletes only records of quarantines, bailiff-quarantine-<uid of the pod>',
    [
      post('a policy of another name', POLICIES, record(UID_2, 'mine')),
      post('a record of another pod’s name', POLICIES, record(UID_2, `bailiff-quarantine-${UID_2}x`)),
      post('a record that selects all', POLICIES, somebodys(`bailiff-quarantine-${UID_2}`)),
      post('a record that allows', POLICIES, { ...record(UID_2), spec: { ...record(UID_2).spec, ingress: [{}] } }),
      remove('another user’s policy', `${POLICIES}/theirs`),
      remove('all policies', POLICIES),
    ],
  ],
];

export const responderCases: readonly AdmissionCase[] = [...TAKEN, ...refusedAs(REFUSED)];
