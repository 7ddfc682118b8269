/** Messages that a Bailiff client does not send, and a node's credential can store: headers and bodies. */
import { headerBlock, type RawMessage } from './raw-nats.ts';

export interface Malformed {
  name: string;
  message: Pick<RawMessage, 'header' | 'headerLength' | 'body'>;
  /** The NATS client throws when it reads the headers. */
  throws?: true;
}

const header = (name: string, block: Buffer | string, more: Partial<Malformed['message']> = {}): Malformed => ({
  name: `header: ${name}`,
  message: { header: block, body: 'x', ...more },
});
const throwing = (name: string, block: Buffer | string): Malformed => ({ ...header(name, block), throws: true });

/** Below the server's limit of 64 KiB. */
const LARGE = 60_000;
const distinct = Array.from({ length: 9_100 }, (_, index) => `${index.toString(36)}:`);

/** Malformed header blocks and status lines. */
export const HEADERS: readonly Malformed[] = [
  throwing('a space in a name', headerBlock('a b: x')),
  throwing('NUL in a name', headerBlock('a\0b: x')),
  throwing('a name that is not ASCII', headerBlock('\xff\xfe: x')),
  throwing('a carriage return in a value', headerBlock('a: b\rc')),
  throwing('a line feed in a value', headerBlock('a: b\nc')),
  header('no colon', headerBlock('abc')),
  header('an empty name', headerBlock(': x')),
  header('NUL in a value', headerBlock('a: \0')),
  header('invalid UTF-8 in a value', headerBlock('a: \xff\xfe')),
  header('no terminator', 'NATS/1.0\r\na: b'),
  header('half a terminator', 'NATS/1.0\r\na: b\r\n'),
  header('length 0', 'NATS/1.0\r\n\r\n', { headerLength: 0 }),
  header('length 1', 'N'),
  header('length 2', 'NA'),
  header('length 3', 'NAT'),
  header('the whole message', 'NATS/1.0\r\na: b\r\n\r\n', { body: '' }),
  header('another protocol', 'HTTP/1.1 200 OK\r\n\r\n'),
  header('a status without a number', 'NATS/1.0 abc\r\n\r\n'),
  header('status 100 without data', 'NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 0\r\n\r\n', { body: '' }),
  ...[404, 408, 409, 503].map((code) =>
    header(`status ${code} without data`, `NATS/1.0 ${code}\r\n\r\n`, { body: '' }),
  ),
  header('status 503', 'NATS/1.0 503\r\n\r\n'),
  header('empty, without data', 'NATS/1.0\r\n\r\n', { body: '' }),
  header('the same name 5,000 times', headerBlock(...Array.from({ length: 5_000 }, () => 'a: b'))),
  header('9,100 names', headerBlock(...distinct)),
  header('a message id of 60 kB', headerBlock(`Nats-Msg-Id: ${'i'.repeat(LARGE)}`)),
  header('one value of 60 kB', headerBlock(`a: ${'v'.repeat(LARGE)}`)),
  header('a forged source', headerBlock('Nats-Stream: VIOLATIONS', 'Nats-Subject: x', 'Nats-Sequence: 1')),
  header('a deletion', headerBlock('KV-Operation: DEL')),
  header('a purge', headerBlock('KV-Operation: PURGE')),
  header('a delete marker', headerBlock('Nats-Marker-Reason: MaxAge')),
];

/** Headers by which a client asks JetStream to act. The server refuses them or stores the message. */
export const CONTROLS: readonly Malformed[] = [
  'Nats-Expected-Stream: VERDICTS',
  'Nats-Expected-Last-Sequence: 0',
  'Nats-Expected-Last-Subject-Sequence: 0',
  'Nats-Expected-Last-Msg-Id: x',
  'Nats-Rollup: all',
  'Nats-Rollup: sub',
  'Nats-TTL: 1s',
  'Nats-Schedule: @at 2036-01-01T00:00:00Z',
  'Nats-Schedule-Target: x',
  'Nats-Batch-Id: x',
  'Nats-Incr: 1',
].map((line) => header(line, headerBlock(line)));

/** Magic, fingerprint, and a body that claims a string of 2^61 bytes. */
const giant = (good: Buffer) =>
  Buffer.concat([good.subarray(0, 10), Buffer.from([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])]);
/** A fingerprint that no schema has; each number another one. */
export const unknownFingerprint = (number: number): Buffer => {
  const bytes = Buffer.from([0xc3, 0x01, 0, 0, 0, 0, 0xad, 0xde, 0xad, 0xde]);
  bytes.writeUInt32LE(number, 2);
  return bytes;
};

/** Bodies that are not a frame. @param good an encoded frame @param most the largest message that is stored */
export const bodies = (good: Buffer, most: number): Malformed[] =>
  (
    [
      ['empty', ''],
      ['one byte', '\xc3'],
      ['another magic', Buffer.concat([Buffer.from([0xc3, 0x02]), good.subarray(2)])],
      ['an unknown fingerprint', unknownFingerprint(1)],
      ['a fingerprint alone', good.subarray(0, 10)],
      ['cut', good.subarray(0, -5)],
      ['too long by a byte', Buffer.concat([good, Buffer.of(0)])],
      ['a string of 2^61 bytes', giant(good)],
      ['as large as the server stores', Buffer.alloc(most, 'x')],
    ] as const
  ).map(([name, body]) => ({ name: `body: ${name}`, message: { body } }));
