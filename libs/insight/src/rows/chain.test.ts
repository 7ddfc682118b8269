import { responseIdOf } from '@bailiff/response';
import type { Response, Violation } from '@bailiff/schemas';
import { sampleLsmViolation, sampleResponse, sampleVerdict, sampleViolation } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import { latencyLine, renderChain } from '../../../../apps/cli/src/shared/rows/chain.ts';
import { abridge, buildChain, type EvidenceStep, recordsOf } from './chain.ts';
import { foldTask, type TaskRecords } from './tasks.ts';

const T0 = Date.parse('2026-11-24T12:00:00Z') * 1000;
const NOW_MS = T0 / 1000 + 60_000;
const ms = 1_000;

function seen(sequence: number, afterMs: number, part: Partial<Violation> = {}): EvidenceStep {
  const at = T0 + afterMs * ms;
  const { sample } = sampleViolation();
  return {
    evidence: { streamSequence: sequence, index: 0, vector: 'ipv4-source', packets: 5, process: null },
    violation: sampleViolation({
      firstSeenAt: at,
      lastSeenAt: at,
      sample: sample && { ...sample, observedAt: at },
      ...part,
    }),
    nodeName: 'node-a',
    storedAtMicros: at + 12 * ms,
  };
}
const gone = (sequence: number): EvidenceStep => ({ ...seen(sequence, 0), violation: null, storedAtMicros: null });

const verdictRow = (afterMs = 100) => ({
  sequence: 4,
  storedAtMicros: T0 + afterMs * ms,
  verdict: sampleVerdict({ triggeredAt: T0 + 90 * ms, configRevision: 7 }),
});

function tasks(...records: [number, number, Response['action'], Response['phase'], Partial<Response>?][]) {
  const folded = new Map<string, TaskRecords>();
  for (const [sequence, afterMs, action, phase, part] of records) {
    const group = ['succeeded', 'refused', 'failed', 'dryrun'].includes(phase) ? 'terminal' : phase;
    const key = { verdictId: sampleVerdict().verdictId, policy: 'default', action };
    const response = sampleResponse({ ...key, phase, ...part, responseId: responseIdOf(key, group as 'terminal') });
    foldTask(folded, { sequence, storedAtMicros: T0 + afterMs * ms, response });
  }
  return [...folded.values()];
}

describe('chain', () => {
  it('latencies - from the first packet on, and from the verdict', () => {
    const chain = buildChain(
      verdictRow(),
      [seen(8, 50), seen(7, 0)],
      tasks([1, 110, 'label', 'started'], [2, 130, 'label', 'succeeded'], [3, 150, 'delete', 'succeeded']),
    );
    expect(chain.evidence.map(({ evidence }) => evidence.streamSequence)).toEqual([7, 8]);
    expect(chain.latencies).toEqual({
      firstViolationMs: 12,
      ruleMetMs: 90,
      verdictMs: 100,
      judgingMs: 10,
      responses: [
        { action: 'label', phase: 'succeeded', ms: 130, afterVerdictMs: 30 },
        { action: 'delete', phase: 'succeeded', ms: 150, afterVerdictMs: 50 },
      ],
    });
    expect(latencyLine(chain)).toBe(
      'first packet → on the bus 12 ms → rule met 90 ms → verdict 100 ms → label succeeded 130 ms → delete succeeded 150 ms',
    );
  });

  it('evidence that is not stored any more - the rest is shown, without latencies', () => {
    const chain = buildChain(verdictRow(), [gone(7)], []);
    expect(chain.latencies).toMatchObject({ firstViolationMs: null, verdictMs: null, judgingMs: 10 });
    const text = renderChain(chain, { width: 100, nowMs: NOW_MS }).join('\n');
    expect(text).toMatch(/#7 .*no longer stored/);
    expect(text).toMatch(/RESPONSES\n {2}none/);
    expect(text).toMatch(/no latencies/);
  });

  it('clocks that differ - a verdict before its packet is marked', () => {
    expect(latencyLine(buildChain(verdictRow(-50), [seen(7, 0)], []))).toMatch(/verdict -50 ms \(the clocks/);
  });

  it('responses of other verdicts - are left out', () => {
    const [other] = tasks([1, 110, 'label', 'succeeded']);
    const foreign = { ...(other as TaskRecords) };
    foreign.terminal = foreign.terminal && {
      ...foreign.terminal,
      response: { ...foreign.terminal.response, verdictId: 'another' },
    };
    expect(buildChain(verdictRow(), [], [foreign]).tasks).toEqual([]);
  });

  it('records - in the order of the stream', () => {
    const [task] = tasks(
      [9, 300, 'delete', 'succeeded'],
      [5, 110, 'delete', 'pending'],
      [7, 200, 'delete', 'approved'],
    );
    expect(recordsOf(task as TaskRecords).map(({ sequence }) => sequence)).toEqual([5, 7, 9]);
  });

  it('abridge - first and last, and how many between', () => {
    expect(abridge([1, 2, 3], 3)).toEqual([1, 2, 3]);
    expect(abridge([1, 2, 3, 4, 5, 6], 4)).toEqual([1, 2, { omitted: [3, 4, 5] }, 6]);
  });
});

describe('render', () => {
  const chain = buildChain(
    verdictRow(),
    [seen(7, 0), seen(8, 50, { vector: 'arp-sender', action: 'audit' })],
    tasks([1, 110, 'delete', 'pending', { reason: 'policy default lets a person decide' }]),
  );

  it('text - whom, facts, judgement, answer, with sequences and times', () => {
    expect(renderChain(chain, { width: 0, nowMs: NOW_MS })).toEqual([
      'default/attacker-0 on node-1.example, of StatefulSet attacker',
      '  uid 0f0e0d0c-1111-4222-8333-444455556666',
      '',
      'VIOLATIONS',
      '  SEQ  SEEN (UTC)     AFTER  WHAT              PACKETS  CLAIMED    SENT TO          ON BUS AFTER',
      '   #7  12:00:00.000      +0  ipv4-source drop        5  192.0.2.7  10.1.0.5:53 udp         12 ms',
      '   #8  12:00:00.050  +50 ms  arp-sender audit        5  192.0.2.7  10.1.0.5:53 udp         12 ms',
      '',
      'VERDICT  5f1d3c7a9b  high by repeated-spoofing',
      '  321 packets in 60 s, threshold 10',
      '  #4  12:00:00.100  +100 ms  rules of CONFIG_LOG #7',
      '  judged 10 ms after the frame that met the rule',
      '',
      'RESPONSES',
      '  SEQ  STORED (UTC)    AFTER  ACTION  PHASE    WHY                                  POLICY',
      '   #1  12:00:00.110  +110 ms  delete  pending  policy default lets a person decide  default',
      `  waits for approval: bailiff responses approve ${chain.tasks[0]?.pending?.response.responseId.slice(0, 10)}`,
      '',
      'first packet → on the bus 12 ms → rule met 90 ms → verdict 100 ms',
    ]);
  });

  it.each([80, 100])('width - %d columns hold it', (width) => {
    for (const line of renderChain(chain, { width, nowMs: NOW_MS }))
      expect([...line].length).toBeLessThanOrEqual(width);
  });

  it('much evidence - a few rows, and how many packets the others had', () => {
    const many = buildChain(
      verdictRow(),
      Array.from({ length: 32 }, (_, index) => seen(index + 1, index)),
      [],
    );
    const lines = renderChain(many, { width: 0, nowMs: NOW_MS });
    expect(lines.filter((line) => / #\d+ .*ipv4-source/.test(line))).toHaveLength(5);
    expect(lines.join('\n')).toMatch(/… +27 more +135/);
  });

  it('operations - what was done, by which program, and from evidence alone when the violation is gone', () => {
    const vector = 'escape-guard/release-agent';
    const at = { firstSeenAt: T0, lastSeenAt: T0 };
    const step = (sequence: number): EvidenceStep => ({
      evidence: {
        streamSequence: sequence,
        index: 0,
        vector,
        packets: 2,
        process: {
          tgid: 7,
          uid: 0,
          comm: 'sh',
          executable: '/bin/sh',
          parentExecutable: '/usr/bin/node',
          containerName: 'app',
          operation: 'mount',
          subject: 'bind',
        },
      },
      violation: sampleLsmViolation(at),
      nodeName: 'node-a',
      storedAtMicros: T0 + 5 * ms,
    });
    const denied = buildChain(verdictRow(), [step(7), { ...step(8), violation: null, storedAtMicros: null }], []);
    const text = renderChain(denied, { width: 0, nowMs: NOW_MS }).join('\n');
    expect(text).toMatch(/WHAT +TIMES +DID +BY PROGRAM/);
    expect(text).toMatch(/release-agent block +2 +write \/sys\/fs\/cgroup\/release_agent +\/bin\/sh -c id, uid 0/);
    expect(text).toMatch(/#8 .* 2 +mount bind \(no longer stored\) +\/bin\/sh, uid 0, from \/usr\/bin\/node/);
    expect(text).toMatch(/\nfirst operation → /);
    const both = buildChain(verdictRow(), [seen(6, 0), step(7)], []);
    expect(renderChain(both, { width: 0, nowMs: NOW_MS }).join('\n')).toMatch(/COUNT +CLAIMED \/ DID +SENT TO \/ BY/);
  });

  it('a verdict about a node - has no pod', () => {
    const row = verdictRow();
    const about = buildChain({ ...row, verdict: { ...row.verdict, pod: null } }, [], []);
    expect(renderChain(about, { width: 0, nowMs: NOW_MS })[0]).toBe('node node-1.example');
  });
});
