// Log records of events, and responses that a receiver may send. test/cluster/siem-relay-otlp.test.ts
// decodes requests by another library.
import { describe, expect, it } from 'vitest';
import type { OutputEvent } from '../outputs/output.ts';
import { partialSuccessOf } from './encode.ts';
import { resourceLogsOf } from './record.ts';

const event = (value: unknown, part: Partial<OutputEvent> = {}): OutputEvent => ({
  sequence: 1,
  subject: '',
  uid: 'u-1',
  className: 'network-activity',
  node: 'node-1',
  severity: 3,
  timeMicros: 5,
  storedMicros: 6,
  data: Buffer.from(JSON.stringify(value)),
  ...part,
});

describe('records', () => {
  it('absent fields - have no attribute', () => {
    const [logs] = resourceLogsOf([event({ message: 'm' })], '1.0');
    expect(logs).toEqual({
      resource: { 'service.name': 'bailiff', 'service.version': '1.0' },
      records: [
        {
          timeMicros: 5,
          observedMicros: 6,
          severityNumber: 13,
          severityText: '',
          body: 'm',
          eventName: 'bailiff.network-activity',
          attributes: { 'log.record.uid': 'u-1', 'k8s.node.name': 'node-1', 'bailiff.ocsf': '{"message":"m"}' },
        },
      ],
    });
  });

  it('an event that the relay published again - has the same record', () => {
    const value = { message: 'm', metadata: { logged_time: 1_790_000_000_123 } };
    const [first, again] = [6, 7].map((storedMicros) => resourceLogsOf([event(value, { storedMicros })], '1.0'));
    expect(first).toEqual(again);
    expect(first?.[0]?.records[0]?.observedMicros).toBe(1_790_000_000_123_000);
  });

  it('events of several clusters - have a resource each', () => {
    const of = (uid: string) => event({ unmapped: { k8s: { cluster_uid: uid } } });
    const logs = resourceLogsOf([of('a'), of('b'), of('a')], '1.0');
    expect(logs.map(({ resource, records }) => [resource['k8s.cluster.uid'], records.length])).toEqual([
      ['a', 2],
      ['b', 1],
    ]);
  });

  it('an event that is no JSON - is refused', () => {
    const broken = event(null, { data: Buffer.from('{') });
    expect(() => resourceLogsOf([broken], '1.0')).toThrow(expect.objectContaining({ code: 'OUTPUT_REFUSED' }));
  });
});

describe('responses', () => {
  it.each([
    ['empty', ''],
    ['of a proxy', '<html>'],
    ['without a rejection', '{"partialSuccess":{"rejectedLogRecords":"0","errorMessage":"a warning"}}'],
  ])('%s - reject nothing', (_, body) => {
    expect(partialSuccessOf('json', Buffer.from(body))).toBeNull();
    expect(partialSuccessOf('protobuf', Buffer.from(body))).toBeNull();
  });

  it('a cut or endless protobuf - rejects nothing, and ends', () => {
    for (const hex of ['0a', '0aff', 'ff'.repeat(64), '0affffffffffffffffff7f', '0a0408']) {
      expect(partialSuccessOf('protobuf', Buffer.from(hex, 'hex'))).toBeNull();
    }
  });
});
