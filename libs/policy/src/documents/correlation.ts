/**
 * Correlation rules in Sigma's terms: `event_count`, `value_count`, `temporal`, `temporal_ordered`,
 * with `group-by`, `timespan`, `condition` and `level`. Windows slide on event time and count
 * packets, sampled or suppressed.
 */

import {
  GROUP_BY,
  IFACE_STATES,
  LEVELS,
  NAMED_ONLY_VECTORS,
  OPERATIONS,
  PACKET_ACTIONS,
  type RULE_TYPES,
  USERSPACE_VECTORS,
  VECTORS,
  VIOLATION_KINDS,
} from '@bailiff/vocabulary';
import * as z from 'zod';
import { duration, kubeName, revision, someOf, whole } from './units.ts';

/** Whether a group has several pods, of any nodes. A verdict about it names one of them. */
export const hasSeveralPods = (groupBy: (typeof GROUP_BY)[number]): boolean =>
  groupBy === 'owner' || groupBy === 'namespace';

const anyVector = z.enum([...VECTORS, ...USERSPACE_VECTORS]);

/**
 * Violations that a rule counts. A missing field matches all, except that without `actions` only
 * prevented violations count, and without `vectors` none of NAMED_ONLY_VECTORS does.
 */
export const selection = z.strictObject({
  kinds: someOf(z.enum(VIOLATION_KINDS)).describe('spoof: packets; lsm: operations of programs'),
  vectors: someOf(anyVector).describe(
    `kinds of packet violations; absent: all but ${[...NAMED_ONLY_VECTORS].join(', ')}, which count only by name`,
  ),
  actions: someOf(z.enum(PACKET_ACTIONS)).describe('drop: prevented; audit: counted and passed; absent: drop'),
  states: someOf(z.enum(IFACE_STATES)).describe(
    'binding of the interface: none, found by the node, confirmed by the bus',
  ),
  policies: someOf(kubeName).describe('names of runtime policies'),
  rules: someOf(kubeName).describe('names of their rules; a posture is the rule `<class>-posture`'),
  operations: someOf(z.enum(OPERATIONS)).describe(
    'of the sampled operation: a violation without a sample matches none; the first violation of a rule by a pod rarely lacks one',
  ),
  severities: someOf(z.enum(LEVELS)).describe('of the runtime policy'),
  namespaces: someOf(kubeName, 256).describe('of pods in these namespaces'),
  excludeNamespaces: someOf(kubeName, 256).describe('but not in these'),
});
export type Selection = z.infer<typeof selection>;

const base = {
  revision,
  enabled: z.boolean().default(true).describe('false: the rule is ignored'),
  level: z.enum(LEVELS).describe('level of its verdicts'),
  'group-by': z
    .enum(GROUP_BY)
    .default('pod')
    .describe(
      'what violations are grouped by; owner: within its namespace; node: its pods of all namespaces count, and the verdict is about the node alone',
    ),
  timespan: duration(1_000, 24 * 3_600_000).describe('window that slides on event time: 1s to 24h'),
  cooldown: duration(1_000, 24 * 3_600_000)
    .default('10m')
    .describe('one verdict per group in each epoch of this length, 1s to 24h (fixed epochs of event time)'),
  description: z.string().max(1024).default('').describe('what the rule finds, for readers of its verdicts'),
  tags: z.array(z.string().max(64)).max(32).default([]).describe('such as "attack.t1557"; handed on to readers'),
};
const condition = z
  .strictObject({
    gte: whole(1, Number.MAX_SAFE_INTEGER).describe('packets or operations in the window, sampled or not'),
  })
  .describe('a verdict is issued if the window contains at least this many');
const type = <T extends (typeof RULE_TYPES)[number]>(name: T) => z.literal(name).describe('type of the rule');
const selected = selection.default({}).describe('violations that the rule counts; absent: all');

export const eventCount = z.strictObject({
  ...base,
  type: type('event_count'),
  selection: selected,
  condition,
});
export const VALUE_FIELDS = [
  'vector',
  'claimedAddress',
  'claimedMac',
  'destinationAddress',
  'destinationPort',
  /** `<policy>/<rule>`. The other three are fields of the sampled operation. */
  'policyRule',
  'operation',
  'executable',
  'subject',
] as const;
export const valueCount = z.strictObject({
  ...base,
  type: type('value_count'),
  selection: selected,
  field: z.enum(VALUE_FIELDS).describe('field whose distinct values are counted'),
  condition: z
    .strictObject({ gte: whole(1, 256).describe('distinct values in the window') })
    .describe('a verdict is issued if the window contains at least this many'),
});
const stages = z
  .array(
    z.strictObject({
      name: kubeName.describe('name of the stage, for the evidence'),
      selection: selection.describe('violations that match the stage'),
    }),
  )
  .min(2)
  .max(8)
  .describe(
    "stages that must all be seen in the window; temporal_ordered: in this order, by the bus or by the node's own times",
  );
export const temporal = z.strictObject({ ...base, type: type('temporal'), rules: stages });
export const temporalOrdered = z.strictObject({ ...base, type: type('temporal_ordered'), rules: stages });

export const correlationRule = z.discriminatedUnion('type', [eventCount, valueCount, temporal, temporalOrdered]);
export type CorrelationRule = z.infer<typeof correlationRule>;

const SPOOFED = ['ipv4-source', 'ipv6-source', 'source-mac', 'arp-sender', 'nd-target'];

/**
 * Names of rules in policies/no-raw-sockets.yaml, and in any policy that uses these names. By name
 * and not by operation, because a refused socket of another kind (AF_ALG, a posture on the network)
 * cannot forge packets.
 */
const RAW_SOCKETS = ['raw', 'packet', 'xdp', 'net-raw'];

/** The verdicts are marked if an audited operation counts (`audited`). */
const AUDITED_TOO = [...PACKET_ACTIONS];

/** Rules in force until the operator writes one of the same name. They detect repeated attempts. */
export const BUILT_IN_RULES: Readonly<Record<string, CorrelationRule>> = Object.fromEntries(
  Object.entries({
    'repeated-spoofing': {
      type: 'event_count',
      level: 'high',
      timespan: '60s',
      condition: { gte: 10 },
      selection: { kinds: ['spoof'], actions: ['drop'] },
      description: 'A pod keeps sending under an identity that is not its own.',
      tags: ['attack.t1557'],
    },
    'many-identities': {
      type: 'value_count',
      level: 'critical',
      field: 'claimedAddress',
      timespan: '60s',
      condition: { gte: 16 },
      selection: { kinds: ['spoof'], actions: ['drop'] },
      description: 'A pod claims many different addresses: a scan or a reflection flood.',
      tags: ['attack.t1498'],
    },
    'spoofed-then-quarantine-breach': {
      type: 'temporal_ordered',
      level: 'critical',
      timespan: '10m',
      rules: [
        // Honest traffic too: a client, a retry, what the pod's kernel sends by itself.
        { name: 'in-quarantine', selection: { vectors: ['quarantine-ingress', 'quarantine-egress'] } },
        { name: 'spoofed', selection: { kinds: ['spoof'], actions: ['drop'], vectors: SPOOFED } },
      ],
      description: 'A pod goes on spoofing while it is quarantined, or cut off until its deletion is complete.',
      tags: [],
    },
    'audited-spoofing': {
      type: 'event_count',
      level: 'low',
      timespan: '5m',
      condition: { gte: 10 },
      selection: { kinds: ['spoof'], actions: ['audit'] },
      description: 'A pod does what an enforcing policy would drop.',
      tags: [],
    },
    'raw-socket-then-spoofing': {
      type: 'temporal_ordered',
      level: 'critical',
      timespan: '10m',
      rules: [
        { name: 'opened-socket', selection: { kinds: ['lsm'], actions: AUDITED_TOO, rules: RAW_SOCKETS } },
        { name: 'spoofed', selection: { kinds: ['spoof'], actions: ['drop'], vectors: SPOOFED } },
      ],
      description:
        'A process of a pod opened a raw or packet socket, or used CAP_NET_RAW, then packets of another identity left the pod.',
      tags: ['attack.t1557', 'attack.t1095'],
    },
    'escape-attempts': {
      type: 'value_count',
      level: 'high',
      field: 'policyRule',
      timespan: '10m',
      condition: { gte: 3 },
      selection: { kinds: ['lsm'], actions: ['drop'], policies: ['escape-guard'] },
      description: 'A pod tries one way out of its container after the other.',
      tags: ['attack.t1611'],
    },
    'drift-then-connect': {
      type: 'temporal_ordered',
      level: 'high',
      timespan: '10m',
      rules: [
        { name: 'ran-new-program', selection: { kinds: ['lsm'], actions: AUDITED_TOO, operations: ['drift'] } },
        { name: 'connected', selection: { kinds: ['lsm'], actions: AUDITED_TOO, operations: ['connect', 'send'] } },
      ],
      description: 'A pod ran a program that its image does not hold, then reached for an address that a policy names.',
      tags: ['attack.t1105', 'attack.t1071'],
    },
    'foreign-pod-claims': {
      type: 'event_count',
      level: 'critical',
      'group-by': 'node',
      timespan: '5m',
      condition: { gte: 1 },
      selection: { vectors: ['foreign-pod', 'invalid-frame'] },
      description:
        "A node's collector reports pods that are not on that node, or sends frames that no collector writes.",
      tags: [],
    },
  }).map(([name, rule]) => [name, correlationRule.parse(rule)]),
);
