// OCSF 1.9 beside 1.5: the differences, record_integrity and the way back.
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { boundedOcsf, MAX_EVENT_BYTES } from '../bounded.ts';
import { everyEvent, operationEvent, verdictEvent } from '../testing.ts';
import type { Json } from './base.ts';
import { toOcsf } from './index.ts';
import { canonical, inOcsfVersion } from './version.ts';

interface Attestation {
  authority_uid?: string;
  fingerprint: { value: string };
}
const asSent = (event: Json) => JSON.parse(JSON.stringify(event)) as Json;

/** As a receiver verifies it: the event without the fingerprint. */
function isIntact({ attestation_list, ...event }: Json): boolean {
  const [{ fingerprint, ...attestation }] = attestation_list as [Attestation];
  const content = canonical({ ...event, attestation_list: [attestation] });
  return createHash('sha256').update(content).digest('hex') === fingerprint.value;
}

describe('ocsf 1.9', () => {
  it.each(everyEvent())(
    '%s - has its version, the profile and a fingerprint; as 1.5 it is the same event',
    (_, event) => {
      const old = toOcsf(event, '1');
      const made = asSent(inOcsfVersion(old, '1.9'));
      expect(made).toMatchObject({
        metadata: {
          version: '1.9.0',
          profiles: [...(old['metadata'] as Json & { profiles: string[] }).profiles, 'record_integrity'],
        },
        attestation_list: [{ fingerprint: { algorithm_id: 3, encoding_id: 1, serialization_id: 2 } }],
      });
      expect(isIntact(made)).toBe(true);
      expect(inOcsfVersion(made, '1.9')).toEqual(made);
      expect(inOcsfVersion(made, '1.5')).toEqual(old);
      expect(inOcsfVersion(old, '1.5')).toBe(old);
      expect(old).not.toHaveProperty('attestation_list');
    },
  );

  it('a change - is found, in the event and in its authority', () => {
    const event = verdictEvent();
    event.origin.cluster = { uid: '6d3b', name: 'shop-eu' };
    const made = asSent(inOcsfVersion(toOcsf(event, '1'), '1.9'));
    const [attestation] = made['attestation_list'] as [Attestation];
    expect(attestation.authority_uid).toBe('6d3b');
    expect(isIntact(made)).toBe(true);
    expect(isIntact({ ...made, severity_id: 1 })).toBe(false);
    expect(isIntact({ ...made, attestation_list: [{ ...attestation, authority_uid: 'other' }] })).toBe(false);
  });

  it('thread id - has its new name, and `unmapped` keeps its names', () => {
    const old = toOcsf(operationEvent({ tid: 4_243 }), '1');
    const made = inOcsfVersion({ ...old, unmapped: { tid: 1 } }, '1.9');
    expect(JSON.stringify(old)).toContain('"tid":4243');
    expect(made).toMatchObject({ actor: { process: { ptid: 4_243 } }, unmapped: { tid: 1 } });
    expect(JSON.stringify({ ...made, unmapped: 0 })).not.toContain('"tid"');
  });

  it('size - a large event is shortened before its fingerprint', () => {
    const event = { ...toOcsf(verdictEvent(), '1'), message: '\u007f'.repeat(MAX_EVENT_BYTES) };
    const text = boundedOcsf(event, '1.9');
    expect(text.length).toBeLessThanOrEqual(MAX_EVENT_BYTES);
    expect(isIntact(JSON.parse(text))).toBe(true);
  });

  it('canonical JSON - equals the example of RFC 8785', () => {
    const text = String.raw`{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}`;
    expect(canonical(JSON.parse(text))).toBe(
      String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    );
  });
});
