// The template of Falco against the demands of its receivers: Falcosidekick's payload and its check,
// and the event of Talon, as their published types state them.

import { render } from '@bailiff/siem';
import { everyEvent, responseEvent, verdictEvent } from '@bailiff/siem/testing';
import { describe, expect, it } from 'vitest';
import { factsOf } from '../outputs/facts.ts';
import type { OutputEvent } from '../outputs/output.ts';
import { bodyOf } from './templates.ts';

type SiemEvent = ReturnType<typeof verdictEvent>;

function outputEvent(event: SiemEvent): OutputEvent {
  const { payload, subject, headers } = render(event, 'ocsf', '1');
  return {
    sequence: 1,
    subject,
    uid: event.origin.uid,
    className: subject.split('.')[4] ?? '',
    node: headers['Bailiff-Node'] ?? '',
    severity: Number(headers['Bailiff-Severity']),
    timeMicros: Number(headers['Bailiff-Time']),
    storedMicros: event.origin.storedMicros,
    data: payload,
  };
}
function falco(event: SiemEvent): Record<string, unknown> {
  const made = outputEvent(event);
  return JSON.parse(bodyOf('falco', made, factsOf(made), '').body.toString('utf8'));
}

const PRIORITIES = 'debug info informational notice warning error critical alert emergency'.split(' ');
const isText = (value: unknown) => typeof value === 'string';
/** Fields of the payload by their Go type; others are ignored. */
const PAYLOAD: Record<string, (value: unknown) => boolean> = {
  uuid: isText,
  output: isText,
  priority: isText,
  rule: isText,
  // time.Time: RFC 3339.
  time: (value) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(String(value)),
  output_fields: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  source: isText,
  tags: (value) => Array.isArray(value) && value.every(isText),
  hostname: isText,
};

/** Why a receiver would refuse an event; empty: it accepts. */
function refusals(event: Record<string, unknown>): string[] {
  const wrong = Object.entries(PAYLOAD).flatMap(([name, is]) => {
    const value = event[name];
    // Absent is Go's zero value.
    return value === undefined || is(value) ? [] : [`cannot decode ${name}`];
  });
  const { output, priority, rule, time, output_fields } = event as Record<string, never>;
  const fields = (output_fields ?? {}) as Record<string, unknown>;
  if (!PRIORITIES.includes(String(priority ?? '').toLowerCase())) wrong.push('priority');
  if (!rule) wrong.push('rule');
  if (!time) wrong.push('time');
  if (!output) wrong.push('output');
  if (Object.keys(fields).length === 0) wrong.push('output_fields');
  for (const name of ['k8s.ns.name', 'k8s.pod.name'])
    if (name in fields && !isText(fields[name])) wrong.push(`${name} is no text`);
  return wrong;
}

const ofWebhooks = everyEvent().filter(([, event]) => event.kind === 'verdict' || event.kind === 'response');

describe('falco', () => {
  it.each(ofWebhooks)('%s - Falcosidekick and Talon accept it', (_, event) => {
    const made = falco(event as SiemEvent);
    expect(refusals(made)).toEqual([]);
    expect(made).toEqual(falco(event as SiemEvent));
  });

  it('the check itself - refuses what lacks a required field, and OCSF', () => {
    const { priority, rule, time, output_fields, ...rest } = falco(verdictEvent());
    expect(refusals(rest)).toEqual(['priority', 'rule', 'time', 'output_fields']);
    expect(refusals({ ...rest, priority, rule, time, output_fields: { 'k8s.pod.name': 1 } })).toEqual([
      'k8s.pod.name is no text',
    ]);
    const ocsf = JSON.parse(Buffer.from(outputEvent(verdictEvent()).data).toString('utf8'));
    expect(refusals(ocsf)).toContain('cannot decode time');
    expect(output_fields).toMatchObject({ 'k8s.ns.name': expect.any(String) });
  });

  it('a verdict - has rule, pod, node and process where rules of Talon look for them', () => {
    const event = verdictEvent({ tags: ['attack.t1611'] });
    event.origin.cluster = { uid: '6d3b', name: 'shop-eu' };
    const value = event.kind === 'verdict' ? event.value : null;
    const made = falco(event);
    expect(made).toMatchObject({
      rule: value?.rule,
      priority: 'Error',
      source: 'bailiff',
      hostname: value?.nodeName,
      tags: ['attack.t1611'],
      uuid: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
      output_fields: {
        'k8s.ns.name': value?.pod?.namespace,
        'k8s.pod.name': value?.pod?.name,
        'bailiff.uid': event.origin.uid,
        'bailiff.cluster.uid': '6d3b',
        'bailiff.cluster.name': 'shop-eu',
      },
    });
    // Talon removes what Falco puts before the text.
    const prefix =
      /^\d{2}:\d{2}:\d{2}\.\d{9}: (Debug|Info|Informational|Notice|Warning|Error|Critical|Alert|Emergency)/;
    expect(String(made['output'])).toMatch(prefix);
    expect(String(made['output']).replace(prefix, '').trim()).toBe(
      `${value?.rule}: ${value?.pod?.namespace}/${value?.pod?.name}: ${value?.reason}`,
    );
  });

  it('a response - has no rule of a verdict, on which Talon would act again', () => {
    const made = falco(responseEvent({ action: 'delete', rule: 'spoof-flood' }) as SiemEvent);
    expect(made).toMatchObject({ rule: 'bailiff-response-delete', output_fields: { 'bailiff.rule': 'spoof-flood' } });
  });

  it('hostile text - has no control character and no markup of a chat, and a node without a pod no field of one', () => {
    const hostile = '\u001b[2J\nCRITICAL fake\u202e <!channel> <https://evil|pay>';
    const made = falco(verdictEvent({ reason: hostile, tags: [hostile], pod: null, groupBy: 'node' }));
    const texts = [made['output'], ...(made['tags'] as string[])].join('');
    expect(texts).toContain('\\u001b[2J\\u000aCRITICAL fake');
    expect(texts).not.toMatch(/\p{C}/u);
    expect(made['output']).toMatch(/‹!channel› ‹https:\/\/evil\|pay›$/);
    expect(Object.keys(made['output_fields'] as object)).not.toContain('k8s.pod.name');
    expect(refusals(made)).toEqual([]);
  });

  it('hostile text - the name of a program has no markup of a chat', () => {
    const program = { comm: '<!channel>', executable: '/tmp/<https://evil|pay>', parentExecutable: '/bin/sh' };
    const process = { ...program, tgid: 42, uid: 0, containerName: 'app', operation: 'execute', subject: '/x' };
    const evidence = [{ streamSequence: 90, index: 0, vector: 'no-shell/shell', packets: 1, process }];
    expect(falco(verdictEvent({ evidence }))['output_fields']).toMatchObject({
      'proc.name': '‹!channel›',
      'proc.exepath': '/tmp/‹https://evil|pay›',
    });
  });
});
