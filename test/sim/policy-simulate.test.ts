// `policy simulate` predicts what enforcing then does: for any policy, operations, ancestors of
// programs, rates and rounds of a recording. In place of the kernel is the model that its programs
// are compared with; test/lsm/simulate.test.ts does the same in a kernel.
import { POSTURE_CLASSES, type RuntimePolicyInput, runtimePolicy } from '@bailiff/policy';
import {
  cellName,
  decide,
  mergeSelected,
  type NamedPolicy,
  type Operation,
  type PolicySet,
  type RuleIR,
} from '@bailiff/runtime';
import type { OperationSample, PodRef, Violation } from '@bailiff/schemas';
import { podIdentityOf, sampleLsmViolation, sampleOperation } from '@bailiff/schemas/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SeenOperations } from '../../apps/cli/src/policies/learn/observed-operations.ts';
import { recordingRules } from '../../apps/cli/src/policies/learn/recording.ts';
import { judgeRecord } from '../../apps/cli/src/policies/simulate/judge.ts';
import { OperationRecord } from '../../apps/cli/src/policies/simulate/record.ts';
import type { OperationSamples } from '../../apps/collector/src/operations/counting/account.ts';
import { addSample, splitIncrement } from '../../apps/collector/src/operations/publishing/sample-dedup.ts';

/** Of one long recording; see CONTRIBUTING. */
const OPERATIONS = Number(process.env['BAILIFF_SIMULATE_OPERATIONS'] ?? 20_000);
/** Tokens of a container between two flushes. */
const BURST = 8;
const POD: PodRef = { ...sampleLsmViolation().pod!, uid: 'pod-1', namespace: 'shop', name: 'web-0' };

interface Act {
  sample: OperationSample;
  operation: Operation;
  /** The program, then its ancestors. */
  chain: string[];
}

const PROGRAMS = ['/bin/app', '/bin/sh', '/bin/tool'];
const PATHS = ['/etc/hosts', '/etc/secret', '/data/a', '/data/b'];
const NONE = {
  subject: '',
  address: '',
  port: 0,
  protocol: 0,
  comm: 'x',
  outcome: 'audit' as const,
  containerName: 'app',
};
const act = (chain: string[], operation: Operation, part: Partial<OperationSample>): Act => ({
  chain,
  operation,
  sample: sampleOperation({ ...NONE, operation: operation.op, executable: chain[0]!, ...part }),
});
const anyChain = fc.array(fc.constantFrom(...PROGRAMS), { minLength: 1, maxLength: 3 });
const anyAct: fc.Arbitrary<Act> = fc.oneof(
  fc
    .tuple(anyChain, fc.constantFrom('read', 'write', 'truncate', 'execute'), fc.constantFrom(...PATHS))
    .map(([chain, op, path]) => act(chain, { kind: 'path', op: op as 'read', path }, { subject: path })),
  fc
    .tuple(anyChain, fc.constantFrom('10.0.0.1', '10.9.0.1'), fc.constantFrom(80, 443))
    .map(([chain, address, port]) =>
      act(chain, { kind: 'address', op: 'connect', address, port, protocol: 6 }, { address, port, protocol: 6 }),
    ),
  fc
    .tuple(anyChain, fc.constantFrom(10n, 13n))
    .map(([chain, value]) =>
      act(
        chain,
        { kind: 'value', op: 'capability', value },
        { subject: value === 10n ? 'net_bind_service' : 'net_raw' },
      ),
    ),
);
const anySource = fc.option(
  fc.tuple(fc.constantFrom(...PROGRAMS), fc.boolean()).map(([path, children]) => [{ path, children }]),
  { nil: undefined },
);
const anyMatch = fc.oneof(
  fc.constantFrom(...PATHS).map((path) => ({ file: { paths: [path] } })),
  fc.constantFrom('/etc', '/data').map((directory) => ({ file: { directories: [directory], operations: ['read'] } })),
  fc.constant({ execute: { paths: [PATHS[2]], operations: ['execute'] } }),
  fc.constantFrom('10.0.0.0/16', '10.9.0.1/32').map((cidr) => ({ network: { cidrs: [cidr] } })),
  fc.constant({ capabilities: ['net_raw'] }),
);
const anyPolicy = fc
  .record({
    rules: fc.array(fc.tuple(fc.constantFrom('block', 'kill', 'audit', 'allow'), anySource, anyMatch), {
      maxLength: 5,
    }),
    file: fc.constantFrom('allow', 'audit', 'block'),
    network: fc.constantFrom('allow', 'block'),
  })
  .map(({ rules, file, network }) => ({
    mode: 'enforce',
    defaultPosture: { file, network },
    rules: rules.map(([action, fromSource, match], index) => ({
      name: `r${index}`,
      action,
      ...(fromSource ? { fromSource } : {}),
      ...match,
    })),
  }))
  .filter((input) => runtimePolicy.safeParse(input).success);

const named = (name: string, input: unknown, revision = 1): NamedPolicy => ({
  key: `runtime.namespace.shop.${name}`,
  name,
  namespace: 'shop',
  policy: runtimePolicy.parse({ ...(input as RuntimePolicyInput), revision }),
});

/** A node that records operations as kernel and collector do. */
class RecordingNode {
  readonly record = new OperationRecord();
  readonly seen = new SeenOperations(POD, 'learn');
  readonly #rules = new Map<string, RuleIR>();
  #revision = 0;
  #set: PolicySet | null = null;
  #cells = new Map<number, { cumulative: number; enqueued: number; samples: OperationSamples | undefined }>();
  #decided = new Map<Act, readonly number[]>();
  #tokens = BURST;

  readonly ruleOf = ({ policyRevision, vector }: { policyRevision: number; vector: string }) =>
    this.#rules.get(`${policyRevision} ${vector}`) ?? null;

  /** Installs the policy for what was observed so far; the cells begin again. */
  renew(): void {
    this.flush();
    this.#revision += 1;
    const defaultPosture = Object.fromEntries(POSTURE_CLASSES.map((name) => [name, 'audit']));
    const rules = recordingRules(this.seen.learned);
    this.#set = mergeSelected([named('learn', { mode: 'audit', defaultPosture, rules }, this.#revision)]);
    for (const rule of this.#set.rules) this.#rules.set(`${this.#revision} learn/${rule.name}`, rule);
    this.#cells = new Map();
    this.#decided = new Map();
    this.seen.beginRound();
  }

  perform(one: Act): void {
    let counted = this.#decided.get(one);
    if (counted === undefined) {
      counted = decide(this.#set!, one.operation, { chain: one.chain, cut: false }).counted.map(({ cell }) => cell);
      this.#decided.set(one, counted);
    }
    for (const cell of counted) {
      const known = this.#cells.get(cell) ?? { cumulative: 0, enqueued: 0, samples: undefined };
      known.cumulative += 1;
      if (this.#tokens > 0) known.samples = addSample(known.samples, { ...one.sample });
      this.#tokens -= 1;
      this.#cells.set(cell, known);
    }
  }

  flush(): void {
    this.#tokens = BURST;
    for (const [cell, known] of this.#cells) {
      if (known.cumulative === known.enqueued) continue;
      const { vector } = cellName(this.#set!, cell)!;
      for (const part of splitIncrement(known.samples, known, 100)) {
        const violation: Violation = sampleLsmViolation({
          pod: POD,
          vector,
          action: 'audit',
          policy: 'runtime.namespace.shop.learn',
          policyRevision: this.#revision,
          generation: this.#revision,
          counterEpoch: `boot/lsm/${this.#revision}/${cell}`,
          cumulativePackets: part.cumulative,
          count: part.count,
          suppressed: part.cumulative - part.enqueued - part.count,
          operation: part.last,
        });
        this.record.add('node-a', violation);
        this.seen.take('node-a', violation);
      }
      known.enqueued = known.cumulative;
      known.samples = undefined;
    }
  }
}

const PLACED = {
  ...podIdentityOf(POD, { containers: [{ name: 'app', id: 'x' }] }),
  nodeName: 'node-a',
  listRevision: 1,
};
const keyOf = ({
  operation,
  subject,
  address,
  port,
}: {
  operation: string;
  subject: string;
  address: string;
  port: number;
}) => [operation, subject, address, port].join(' ');

/** Predicted and real, by program and operation. */
async function compare(node: RecordingNode, policy: NamedPolicy, done: readonly (readonly [Act, number])[]) {
  const tried = new Set([policy.key]);
  const { rows } = await judgeRecord(node.record, { policies: [policy], tried, pods: [PLACED], ruleOf: node.ruleOf });
  const set = mergeSelected([policy]);
  const real = new Map<string, { denied: number; pass: number }>();
  for (const [one, times] of done) {
    const { outcome } = decide(set, one.operation, { chain: one.chain, cut: false });
    const key = `${one.chain[0]} ${keyOf(one.sample)}`;
    const counts = real.get(key) ?? { denied: 0, pass: 0 };
    counts[outcome === 'pass' ? 'pass' : 'denied'] += times;
    real.set(key, counts);
  }
  const predicted = new Map<string, { denied: number; pass: number; undecided: number }>();
  const total = { denied: 0, pass: 0, undecided: 0 };
  for (const { program, operation, judgement, passed } of rows) {
    total[judgement.outcome] += passed;
    if (program === '' || operation === null) continue;
    const key = `${program} ${keyOf(operation)}`;
    const counts = predicted.get(key) ?? { denied: 0, pass: 0, undecided: 0 };
    counts[judgement.outcome] += passed;
    predicted.set(key, counts);
  }
  return { predicted, real, total };
}

describe('simulation of policies', () => {
  it('any policy and recording - what is predicted happens, and what is not predicted is undecided', async () => {
    const anyRounds = fc.array(fc.array(fc.tuple(fc.nat(14), fc.integer({ min: 1, max: 12 })), { maxLength: 12 }), {
      minLength: 1,
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(
        anyPolicy,
        fc.array(anyAct, { minLength: 1, maxLength: 15 }),
        anyRounds,
        async (input, acts, rounds) => {
          const node = new RecordingNode();
          const done: [Act, number][] = [];
          for (const round of rounds) {
            node.renew();
            for (const [pick, times] of round) {
              const one = acts[pick % acts.length] as Act;
              for (let turn = 0; turn < times; turn += 1) node.perform(one);
              done.push([one, times]);
              node.flush();
            }
          }
          const { predicted, real, total } = await compare(node, named('tried', input), done);
          for (const [key, { denied, pass }] of predicted) {
            expect([key, denied <= (real.get(key)?.denied ?? 0), pass <= (real.get(key)?.pass ?? 0)]).toEqual([
              key,
              true,
              true,
            ]);
          }
          const performed = done.reduce((sum, [, times]) => sum + times, 0);
          expect(total.denied + total.pass + total.undecided).toBe(performed);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('a long recording at any rate - every operation is predicted, none is undecided', async () => {
    const acts = [
      ...PROGRAMS.flatMap((program) => [
        act([program], { kind: 'path', op: 'read', path: '/etc/secret' }, { subject: '/etc/secret' }),
        // Three programs that write one file would share a cell.
        act([program], { kind: 'path', op: 'write', path: `/data${program}` }, { subject: `/data${program}` }),
        act([program], { kind: 'value', op: 'capability', value: 13n }, { subject: 'net_raw' }),
      ]),
      act(
        ['/bin/app'],
        { kind: 'address', op: 'connect', address: '10.0.0.1', port: 80, protocol: 6 },
        { address: '10.0.0.1', port: 80, protocol: 6 },
      ),
    ];
    const node = new RecordingNode();
    for (const one of acts) {
      node.renew();
      node.perform(one);
    }
    node.renew();
    const each = Math.ceil(OPERATIONS / acts.length);
    for (let turn = 0; turn < each; turn += 1) {
      for (const one of acts) node.perform(one);
      if (turn % 500 === 0) node.flush();
    }
    node.flush();
    const input = {
      mode: 'enforce',
      rules: [
        { name: 'secret', action: 'block', file: { paths: ['/etc/secret'] } },
        {
          name: 'sh',
          action: 'kill',
          fromSource: [{ path: '/bin/sh' }],
          file: { directories: ['/data'], recursive: true },
        },
        { name: 'raw', action: 'block', fromSource: [{ path: '/bin/tool' }], capabilities: ['net_raw'] },
        { name: 'net', action: 'block', network: { cidrs: ['10.0.0.0/8'] } },
      ],
    };
    const done = acts.map((one) => [one, each + 1] as const);
    const { predicted, real, total } = await compare(node, named('tried', input), done);
    expect(total).toEqual({ denied: 6 * (each + 1), pass: 4 * (each + 1), undecided: 0 });
    expect(Object.fromEntries([...predicted].map(([key, { undecided: _, ...counts }]) => [key, counts]))).toEqual(
      Object.fromEntries(real),
    );
  });
});
