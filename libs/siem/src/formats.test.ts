// ECS, CEF, and helpers that all formats share.

import { SIEM_FORMATS } from '@bailiff/bus';
import { MAX_LIST, MAX_TEXT } from '@bailiff/schemas';
import { sampleLsmViolation, sampleViolation } from '@bailiff/schemas/testing';
import { escapeUnsafe, UNSAFE } from '@bailiff/service/printable';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asciiJson, MAX_EVENT_BYTES } from './bounded.ts';
import { escapeHeader, escapeValue, toCef } from './cef.ts';
import { activityOf } from './classes.ts';
import { toEcs } from './ecs.ts';
import { clip, commandLine, compact, type SiemEvent, techniquesOf, uidOf } from './event.ts';
import { render } from './render.ts';
import { captureEvent, everyEvent, operationEvent, responseEvent, verdictEvent, violationEvent } from './testing.ts';

/** Parses a CEF line as a receiver does: a header of eight fields, then keys before `=`. */
function readCef(line: string): { header: string[]; extension: Map<string, string> } {
  const parts = /^((?:[^\\|]|\\.)*\|){7}/.exec(line)?.[0] ?? '';
  const header = [...parts.matchAll(/((?:[^\\|]|\\.)*)\|/g)].map(([, field = '']) =>
    field.replaceAll(/\\([\\|])/g, '$1'),
  );
  const extension = new Map<string, string>();
  const text = line.slice(parts.length);
  for (const [, key = '', value = ''] of text.matchAll(/(?:^| )(\w+)=((?:\\.|[^\\=])*?)(?=$| \w+=)/g)) {
    extension.set(
      key,
      value.replaceAll(/\\([\\=n])/g, (_, one: string) => (one === 'n' ? '\n' : one)),
    );
  }
  return { header, extension };
}

describe('cef', () => {
  it.each(everyEvent())('cef - %s is one line with a header of seven fields and its uid', (_, event) => {
    const line = toCef(event, '1.2.3');
    expect(line).not.toMatch(/[\r\n]/);
    const { header, extension } = readCef(line);
    expect(header).toHaveLength(7);
    expect(header.slice(0, 4)).toEqual(['CEF:0', 'Bailiff', 'Bailiff', '1.2.3']);
    expect(Number(header[6])).toBeGreaterThanOrEqual(0);
    expect(Number(header[6])).toBeLessThanOrEqual(10);
    expect(extension.get('externalId')).toBe(event.origin.uid);
    expect(extension.get('cat')).toBe(activityOf(event).className);
    expect(Number(extension.get('rt'))).toBeGreaterThan(0);
  });

  it('cef - what an attacker names a file ends no field and makes no other', () => {
    const subject = '/tmp/a|b=c\\d\nCEF:0|x src=1.2.3.4';
    const { header, extension } = readCef(toCef(operationEvent({ subject, executable: '/x y=z' }), '1'));
    expect(header).toHaveLength(7);
    expect(extension.get('filePath')).toBe(subject);
    expect(extension.get('sproc')).toBe('/x y=z');
    expect(extension.has('src')).toBe(false);
  });

  it('cef - escaping is undone by reading, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
        expect(escapeHeader(text)).not.toMatch(UNSAFE);
        const value = escapeValue(text);
        expect(value).not.toMatch(UNSAFE);
        const back = value.replaceAll(/\\([\\=n])/g, (_, one: string) => (one === 'n' ? '\n' : one));
        expect(back).toBe(escapeUnsafe(text.replaceAll(/\r\n|\r/g, '\n'), '\n'));
      }),
    );
  });
});

it('cef - a capture under keys of its own, and no arguments', () => {
  const { header, extension } = readCef(toCef(captureEvent(), '1'));
  expect(header.slice(4, 6)).toEqual(['700105', 'Remediation Activity: Detect']);
  expect(Object.fromEntries(extension)).toMatchObject({
    act: 'capture',
    outcome: 'succeeded',
    cn1: '103',
    cn1Label: 'processes',
    cn2: '102',
    deviceCustomDate1: '1790000000456',
    flexString2: expect.stringMatching(/^198\.51\.100\.1:443,/),
  });
  expect([...extension.values()].join()).not.toContain('hunter2');
  expect(readCef(toCef(responseEvent(), '1')).extension.has('cn1')).toBe(false);
});

/** https://www.elastic.co/docs/reference/ecs (9.4): allowed values. */
const CATEGORIES = ['file', 'host', 'process', 'network', 'intrusion_detection', 'configuration'];
const TYPES = ['info', 'change', 'denied', 'allowed'];

describe('ecs', () => {
  it.each(everyEvent())(
    'ecs - %s has the fields that every event of ECS has, with values that it allows',
    (_, event) => {
      const ecs = toEcs(event, '1.2.3') as Record<string, never>;
      expect(ecs).toMatchObject({ ecs: { version: '9.4.0' }, event: { id: event.origin.uid, module: 'bailiff' } });
      expect(Number.isNaN(Date.parse(ecs['@timestamp'] ?? ''))).toBe(false);
      const { kind, category, type, outcome } = ecs['event'] as unknown as Record<string, string[] & string>;
      expect(['event', 'alert', 'pipeline_error']).toContain(kind);
      expect(CATEGORIES).toEqual(expect.arrayContaining(category as string[]));
      expect(TYPES).toEqual(expect.arrayContaining(type as string[]));
      expect(['success', 'failure', 'unknown']).toContain(outcome);
    },
  );

  it('ecs - a packet, an operation, a verdict and a response under the names of ECS', () => {
    expect(toEcs(violationEvent(), '1')).toMatchObject({
      source: { ip: '10.1.0.4', mac: '02-00-00-00-00-01', port: 40_000 },
      destination: { ip: '10.1.0.5', port: 53 },
      network: { transport: 'udp', iana_number: '17', direction: 'egress' },
      orchestrator: { namespace: 'default', resource: { name: 'attacker-0' } },
      bailiff: { claimed_address: '192.0.2.7' },
    });
    expect(toEcs(operationEvent({ subject: '/etc/shadow' }), '1')).toMatchObject({
      event: { category: ['file'], type: ['denied'], outcome: 'failure' },
      file: { path: '/etc/shadow', name: 'shadow' },
      process: { pid: 4_242, command_line: 'sh -c id', parent: { executable: '/usr/bin/node' } },
      container: { id: '0123abcd' },
      threat: { technique: { id: ['T1611'] } },
    });
    expect(toEcs(verdictEvent(), '1')).toMatchObject({
      event: { kind: 'alert', severity: 4 },
      rule: { id: 'repeated-spoofing' },
    });
    expect(toEcs(responseEvent(), '1')).toMatchObject({ event: { action: 'delete-succeeded', outcome: 'success' } });
    const captured = toEcs(captureEvent(), '1');
    expect(captured).toMatchObject({
      event: { action: 'capture-succeeded', category: ['configuration'] },
      bailiff: { capture: { processes: 103, executables: expect.arrayContaining(['p1']) } },
    });
    expect(JSON.stringify(captured)).not.toContain('hunter2');
  });
});

/** Paths of the strings in a value; of a list, in its first element. */
function stringsIn(value: unknown, at: readonly string[] = []): (readonly string[])[] {
  if (typeof value === 'string') return [at];
  if (value === null || typeof value !== 'object' || Buffer.isBuffer(value)) return [];
  const parts = Object.entries(value).slice(0, Array.isArray(value) ? 1 : undefined);
  return parts.flatMap(([key, one]) => stringsIn(one, [...at, key]));
}

function withText<T>(event: T, path: readonly string[], text: string): T {
  const copy = structuredClone(event);
  const last = path
    .slice(0, -1)
    .reduce((at, key) => at[key] as Record<string, unknown>, copy as Record<string, unknown>);
  last[path.at(-1) as string] = text;
  return copy;
}

/** Fields whose few values the schema lists: no message with another value can be decoded. */
const LISTED = new Set(['kind', 'level', 'phase', 'action', 'direction', 'operation', 'state', 'severity']);

describe('hostile text', () => {
  const byName = new Map<string, { name: string; event: SiemEvent; path: readonly string[] }>();
  for (const [, event] of everyEvent()) {
    for (const path of stringsIn(event)) {
      const name = `${activityOf(event).className} ${path.join('.')}`;
      if (path.length > 1 && !LISTED.has(path.at(-1) as string)) byName.set(name, { name, event, path });
    }
  }
  const fields = [...byName.values()];

  it('every string of every event - no format has a control character, a line break or hidden text', () => {
    const control = fc.constantFrom('\x1b[2J', '\x07', '\0', '\r\n', '\u009b31m', '\u202e', '\u2028', '\x7f', '\u200b');
    const hostile = fc.tuple(fc.string({ unit: 'binary', maxLength: 12 }), control).map((parts) => parts.join(''));
    expect(fields.length).toBeGreaterThan(100);
    let escaped = 0;
    for (const { name, event, path } of fields) {
      fc.assert(
        fc.property(hostile, (text) => {
          // The control: the text that a format would pass on as it is.
          expect(text).toMatch(UNSAFE);
          const changed = withText(event, path, text);
          for (const format of ['ocsf', 'ecs', 'cef'] as const) {
            const line = render(changed, format, '1').payload.toString('utf8');
            expect(line, `${format}: ${name}`).not.toMatch(UNSAFE);
            if (line.includes('\\u')) escaped += 1;
          }
        }),
        { numRuns: 5 },
      );
    }
    expect(escaped, 'the texts are in the events').toBeGreaterThan(fields.length);
  });
});

describe('parts', () => {
  it('uid - follows from stream, its making, sequence and index, and from nothing else', () => {
    const place = { stream: 'VIOLATIONS', createdMs: 1_000_000, sequence: 12 };
    expect(uidOf(place, 3)).toBe('violations-lfls-12-3');
    const others = [
      { ...place, createdMs: 1 },
      { ...place, sequence: 13 },
      { ...place, stream: 'VERDICTS' },
    ];
    expect(new Set([uidOf(place, 3), uidOf(place, 4), ...others.map((one) => uidOf(one, 3))]).size).toBe(5);
    const again = render(violationEvent(), 'ocsf', '1');
    expect(render(violationEvent(), 'ocsf', '1')).toEqual(again);
    expect(again.msgId).toBe(`ocsf-${violationEvent().origin.uid}`);
    expect(again.subject).toBe('bailiff.v1.siem.ocsf.network-activity.default');
  });

  it('render - JSON is ASCII and reads back the same, and is small enough for a syslog receiver', () => {
    for (const [, event] of everyEvent()) {
      for (const format of ['ocsf', 'ecs'] as const) {
        const { payload } = render(event, format, '1');
        expect(payload.every((byte) => byte >= 0x20 && byte < 0x7f)).toBe(true);
        expect(payload.length).toBeLessThan(8_192);
      }
    }
    const text = 'ä\u2028😀\u007f';
    expect(JSON.parse(asciiJson({ text }))).toEqual({ text });
  });

  it('text - is cut at a whole character, and what is empty is left out', () => {
    expect(clip('a'.repeat(20), 10)).toBe(`${'a'.repeat(9)}…`);
    expect(clip(`${'a'.repeat(8)}😀b`, 10)).toBe(`${'a'.repeat(8)}…`);
    expect(compact({ a: '', b: [], c: { d: undefined }, e: 0, f: false, g: ['', 'x'] })).toEqual({
      e: 0,
      f: false,
      g: ['x'],
    });
    expect(commandLine(['sh', '-c', 'echo "a b"'])).toBe('sh -c "echo \\"a b\\""');
    expect(techniquesOf(['attack.t1611', 'attack.T1552.001', 'attack.defense_evasion', 'cve.1'])).toEqual([
      'T1611',
      'T1552.001',
    ]);
  });
});

it.each([
  [1, '1 packet of'],
  [2, '2 packets of'],
])('message - %d: %s', (count, words) => {
  expect(toCef(violationEvent(sampleViolation({ count, suppressed: 0 })), '1')).toContain(`: ${words} `);
});

describe('size of an event', () => {
  /** A record with each text and list at its limit. */
  function filled<T extends object>(record: keyof typeof MAX_TEXT, value: T, character: string): T {
    const texts = MAX_TEXT[record] as Record<string, { bytes: number } | undefined>;
    const lists = (MAX_LIST as Record<string, Record<string, { items: number }>>)[record] ?? {};
    const text = (bytes: number) => character.repeat(Math.floor(bytes / Buffer.byteLength(character)));
    const fill = ([field, old]: [string, unknown]): [string, unknown] => {
      const bytes = texts[field]?.bytes;
      if (bytes === undefined) return [field, old];
      return [
        field,
        Array.isArray(old) ? Array.from({ length: lists[field]?.items ?? 1 }, () => text(bytes)) : text(bytes),
      ];
    };
    return Object.fromEntries(Object.entries(value).map(fill)) as T;
  }

  it.each(['a', '"', '€', '\u0001', '\u007f', '😀'])(
    'size - a frame of a node that is full of %j stays below the limit, with its node and its id',
    (character) => {
      const base = sampleLsmViolation();
      const event = violationEvent({
        ...filled('Violation', base, character),
        operation: filled('OperationSample', base.operation as never, character),
        pod: filled('PodRef', base.pod as never, character),
        sample: null,
      });
      for (const format of SIEM_FORMATS) {
        const { payload } = render(event, format, '1.2.3');
        const text = payload.toString('utf8');
        expect(payload.length).toBeLessThanOrEqual(MAX_EVENT_BYTES);
        expect(text).toContain(event.origin.uid);
        expect(text).toContain(event.origin.node);
        if (format !== 'cef') expect(JSON.parse(text)).toMatchObject({});
      }
    },
  );

  it('size - control: unbounded, such an event is longer than a receiver accepts', () => {
    const base = sampleLsmViolation();
    const event = violationEvent({ ...base, operation: filled('OperationSample', base.operation as never, '\u007f') });
    expect(asciiJson(toEcs(event, '1')).length).toBeGreaterThan(64 * 1024);
    expect(render(event, 'ecs', '1').payload.length).toBeLessThanOrEqual(MAX_EVENT_BYTES);
  });

  it('size - an ordinary event is not shortened', () => {
    for (const [, event] of everyEvent())
      expect(JSON.parse(render(event, 'ecs', '1').payload.toString())).toEqual(
        JSON.parse(asciiJson(toEcs(event, '1'))),
      );
  });
});

describe('words that a node chooses', () => {
  it.each(SIEM_FORMATS)('severity - one that every object has is unknown, and the event is written: %s', (format) => {
    const numberOf = (severity: string) =>
      render(violationEvent(sampleLsmViolation({ severity })), format, '1.2.3').headers['Bailiff-Severity'];
    expect(['constructor', 'toString', 'unheard-of', 'high'].map(numberOf)).toEqual(['0', '0', '0', '4']);
  });
});
