import { buildChain, foldTask, type TaskRecords } from '@bailiff/insight';
import { responseIdOf } from '@bailiff/response';
import type { Response } from '@bailiff/schemas';
import { sampleResponse, sampleVerdict, sampleViolation } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import { earlierActionsOf, nextCommands, paragraph, type WhyFacts } from './why.ts';

const T0 = Date.parse('2026-11-24T12:00:00Z') * 1000;

const group = (vector: string, action: string, packets: number): WhyFacts['groups'][number] => ({
  key: { vector, action },
  packets,
  violations: 1,
  sample: vector.includes('/') ? null : sampleViolation(),
  firstAtMicros: T0,
  lastAtMicros: T0 + 5e6,
  firstSequence: 1,
  lastSequence: 2,
});

function chainOf(...records: [Response['action'], Response['phase'], Partial<Response>?][]) {
  const tasks = new Map<string, TaskRecords>();
  const key = { verdictId: sampleVerdict().verdictId, policy: 'default' };
  records.forEach(([action, phase, part], sequence) => {
    const kind = ['succeeded', 'refused', 'failed', 'dryrun'].includes(phase) ? 'terminal' : phase;
    const responseId = responseIdOf({ ...key, action }, kind as 'terminal');
    const response = sampleResponse({
      ...key,
      action,
      phase,
      reason: '',
      apiVerb: '',
      expiresAt: null,
      ...part,
      responseId,
    });
    foldTask(tasks, { sequence, storedAtMicros: T0, response });
  });
  const verdict = sampleVerdict({ triggeredAt: T0 });
  return buildChain({ sequence: 1, storedAtMicros: T0, verdict }, [], tasks.values());
}

const facts = (part: Partial<WhyFacts>): WhyFacts => ({
  pod: 'shop/web-0',
  since: '1d',
  nowMs: T0 / 1000 + 60_000,
  groups: [group('ipv4-source', 'drop', 1_200)],
  undecided: 0,
  refused: 0,
  chain: null,
  earlierVerdicts: 0,
  earlierActions: [],
  outage: '',
  unanswered: () => '',
  ...part,
});

describe('why', () => {
  it('violations that are not decided yet - are not none; control: none is stored', () => {
    const chain = chainOf(['delete', 'succeeded']);
    const text = (undecided: number) => paragraph(facts({ groups: [], undecided, chain }));
    expect(text(7)).toMatch(/^Not counted yet of shop\/web-0: 7 violations, because no pod list names it now\. Rule /);
    expect(text(0)).toMatch(/^No violation of shop\/web-0 is stored since 1d\. Rule /);
  });

  it('violations that are refused - are stored, and a verdict may name them', () => {
    const text = paragraph(facts({ groups: [], refused: 12, chain: chainOf(['delete', 'succeeded']) }));
    expect(text).toMatch(/^No violation of shop\/web-0 counts now of those since 1d: 12 reports refused\. Rule /);
  });

  it('violations - count, claim, time and what the kernel did, of three kinds at most', () => {
    const three = [
      group('ipv4-source', 'drop', 1_200),
      group('escape-guard/host-files', 'block', 1),
      group('tunnel', 'audit', 2),
    ];
    const text = paragraph(facts({ groups: [...three, group('redirect', 'drop', 1)] }));
    expect(text).toContain('1200 packets violated ipv4-source (newest "');
    expect(text).toContain('from 12:00:00.000 to 12:00:05.000: dropped');
    expect(text).toContain('1 operation violated escape-guard/host-files, ');
    expect(text).toContain(': refused; 2 packets violated tunnel');
    expect(text).toContain(': let through, in audit; and 1 more kind.');
  });

  it('no verdict - no rule was met, or the correlator does not judge', () => {
    expect(paragraph(facts({}))).toMatch(
      /No verdict: its violations met no rule, or count for a verdict about [^.]*\.$/,
    );
    const away = facts({ outage: '0 of 1 correlators run' });
    expect(paragraph(away)).toMatch(/No verdict: 0 of 1 correlators run\.$/);
    expect(nextCommands(facts({}))[1]).toBe('bailiff config list --kind correlation');
    expect(nextCommands(away)[0]).toBe('bailiff doctor');
  });

  it('violations after the verdict while none is judged - the verdict is not the answer to them', () => {
    const [newest] = facts({}).groups;
    const after = { ...newest, lastAtMicros: T0 + 1 } as typeof newest & object;
    const before = { ...after, lastAtMicros: T0 };
    const text = (part: Partial<WhyFacts>) => paragraph(facts({ chain: chainOf(['delete', 'succeeded']), ...part }));
    const outage = '0 of 1 correlators run';
    const said = `Of the violations since then, there may be no verdict: ${outage}.`;
    expect(text({ groups: [after], outage })).toContain(said);
    for (const part of [{ groups: [before], outage }, { groups: [after] }])
      expect(text(part)).not.toContain('may be no verdict');
  });

  it('responses - what was done, and for what was not done the guard or the failure that says so', () => {
    const chain = chainOf(
      ['label', 'succeeded'],
      ['quarantine', 'succeeded', { expiresAt: T0 + 3_600e6 }],
      ['evict', 'refused', { reason: 'the budget of 3 disruptions in 10m is used up' }],
      ['delete', 'dryrun'],
    );
    const text = paragraph(facts({ chain, earlierVerdicts: 2 }));
    expect(text).toContain(
      `made verdict ${sampleVerdict().verdictId.slice(0, 10)}, level ${sampleVerdict().level}, at 12:00:00.000 (2 earlier).`,
    );
    expect(text).toContain('Label was done; quarantine was done (until 13:00:00.000); ');
    expect(text).toContain('evict was not done, a guard refused it: the budget of 3 disruptions in 10m is used up; ');
    expect(text).toMatch(/delete would have been done, but the policy is a dry run\.$/);
    const id = sampleVerdict().verdictId.slice(0, 10);
    expect(nextCommands(facts({ chain }))).toEqual([
      `bailiff explain ${id}`,
      `bailiff responses --verdict ${id}`,
      'bailiff quarantine list',
    ]);
  });

  it('an action that waits - its approval is the next command', () => {
    const chain = chainOf(['delete', 'pending']);
    expect(paragraph(facts({ chain }))).toContain('Delete was not done: it waits for approval.');
    expect(nextCommands(facts({ chain }))[0]).toMatch(/^bailiff responses approve [0-9a-f]{8,}$/);
  });

  it('nothing was done - why, and the check that finds the fault', () => {
    const chain = chainOf();
    const text = paragraph(facts({ chain, unanswered: () => 'no responder runs' }));
    expect(text).toMatch(/Nothing was done: no responder runs\.$/);
    expect(nextCommands(facts({ chain }))[0]).toBe('bailiff doctor');
    expect(paragraph(facts({ chain }))).toContain('Nothing was done: no response policy matches');
  });

  it('dry runs - for the reason of each: a disarm is not a dry run of the policy', () => {
    const dry = (reason: string) => [{ reason }] as const;
    const chain = chainOf(
      ['label', 'dryrun', ...dry('would label, but namespace shop is disarmed until 2026-11-24T13:00:00Z by anna')],
      ['delete', 'dryrun', ...dry('would delete; policy answer-high is a dry run')],
    );
    expect(paragraph(facts({ chain }))).toMatch(
      /Label would have been done, but namespace shop is disarmed until \S+ by anna; delete would have been done, but policy answer-high is a dry run\.$/,
    );
  });

  it('a newest verdict without a response - hides no quarantine of an earlier one; control: one that was released', () => {
    const verdict = sampleVerdict();
    const earlier = [{ sequence: 1, storedAtMicros: T0, verdict }];
    const chain = buildChain(
      { sequence: 9, storedAtMicros: T0, verdict: { ...verdict, verdictId: 'b'.repeat(32) } },
      [],
      [],
    );
    const of = (...records: Parameters<typeof chainOf>) => {
      const tasks = chainOf(...records).tasks;
      return facts({ chain, earlierVerdicts: 1, earlierActions: earlierActionsOf(tasks, earlier) });
    };
    const held = of(['label', 'succeeded'], ['quarantine', 'succeeded', { expiresAt: T0 + 3_600e6 }]);
    const id = verdict.verdictId.slice(0, 10);
    expect(paragraph(held)).toMatch(
      new RegExp(`Nothing was done: no .*\\. Before that, quarantine was done \\(until \\S+\\), for verdict ${id} of `),
    );
    expect(nextCommands(held)).toContain('bailiff quarantine list');
    const ended = of(['quarantine', 'succeeded'], ['quarantine', 'undone']);
    expect(paragraph(ended)).toMatch(/Nothing was done: no .*yet\.$/);
  });
});
