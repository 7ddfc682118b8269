import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ApiError } from '../errors.ts';
import { decodeProtobuf } from './protobuf.ts';

const field = (number: number, value: string | Buffer) => {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([number * 8 + 2, bytes.length]), bytes]);
};

const body = (apiVersion: string, kind: string, raw: Buffer) =>
  Buffer.concat([Buffer.from('k8s\0'), field(1, Buffer.concat([field(1, apiVersion), field(2, kind)])), field(2, raw)]);

test('protobuf - reads listed fields and skips others', () => {
  const label = (key: string, value: string) => field(11, Buffer.concat([field(1, key), field(2, value)]));
  const meta = Buffer.concat([
    field(1, 'a'),
    field(3, ''),
    field(8, ''),
    label('x', '1'),
    label('y', ''),
    field(14, 'f'),
  ]);
  const unknown = Buffer.from([9 * 8, 0xac, 0x02, 10 * 8 + 5, 0, 0, 0, 0, 11 * 8 + 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  expect(decodeProtobuf(body('v1', 'Namespace', Buffer.concat([field(1, meta), unknown])))).toEqual({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'a', labels: { x: '1', y: '' }, finalizers: ['f'] },
  });
});

test('protobuf - an amount is a number or a text', () => {
  const spec = Buffer.concat([
    field(1, Buffer.from([8, 0, 16, 2])),
    field(3, Buffer.concat([Buffer.from([8, 1]), field(3, '50%')])),
  ]);
  expect(decodeProtobuf(body('policy/v1', 'PodDisruptionBudget', field(2, spec)))).toMatchObject({
    spec: { minAvailable: 2, maxUnavailable: '50%' },
  });
});

test('protobuf - 415 for another kind, 400 for invalid bytes', () => {
  expect(() => decodeProtobuf(body('apps/v1', 'Deployment', Buffer.alloc(0)))).toThrow(
    expect.objectContaining({ httpStatus: 415 }),
  );
  expect(() => decodeProtobuf(Buffer.from('{}'))).toThrow(expect.objectContaining({ httpStatus: 400 }));
});

test('protobuf - any bytes give an object or an error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      for (const raw of [Buffer.concat([Buffer.from('k8s\0'), bytes]), body('v1', 'ConfigMap', Buffer.from(bytes))]) {
        try {
          expect(typeof decodeProtobuf(raw)).toBe('object');
        } catch (error) {
          expect(error).toBeInstanceOf(ApiError);
        }
      }
    }),
  );
});
